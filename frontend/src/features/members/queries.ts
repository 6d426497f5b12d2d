/** The lists a change of a member shows in, and the roles there are to give. */
import { useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import { $api } from "@/api/client";
import { useMay } from "@/lib/session";

const CHANGED = new Set(["/api/v1/users", "/api/v1/users/{user_id}", "/api/v1/invitations"]);

export function useMembersChanged(): () => Promise<void> {
  const queries = useQueryClient();
  return useCallback(
    () => queries.invalidateQueries({ predicate: ({ queryKey }) => CHANGED.has(String(queryKey[1])) }),
    [queries],
  );
}

/** Built-in ones and the tenant's own, by name. */
export function useRoleNames(isOn: boolean): string[] {
  const may = useMay();
  const roles = $api.useQuery(
    "get",
    "/api/v1/roles",
    { params: { query: { limit: 100 } } },
    { enabled: isOn && may("roles:view"), staleTime: 60_000 },
  );
  return roles.data?.data.map((role) => role.name) ?? ["developer"];
}
