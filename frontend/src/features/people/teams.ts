/** The teams there are to choose from; the first page is enough to choose, more are found in the list. */
import { useMemo } from "react";
import { $api } from "@/api/client";
import { useMay } from "@/lib/session";
import { useTenantFilter } from "@/ui/TenantFilter";

export function useTeamChoices(isOn = true): { value: string; label: string }[] {
  const may = useMay();
  const tenant = useTenantFilter();
  const teams = $api.useQuery(
    "get",
    "/api/v1/teams",
    { params: { query: { limit: 100, tenant_id: tenant } } },
    { enabled: isOn && may("teams:view"), staleTime: 60_000 },
  );
  return useMemo(() => teams.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? [], [teams.data]);
}
