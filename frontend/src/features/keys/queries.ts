/** The lists a change of a key shows in, and the names of the things keys belong to. */
import { useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import { $api, type Schemas } from "@/api/client";
import { useMay } from "@/lib/session";

export type Key = Schemas["KeyView"];
export type KeyCreated = Schemas["KeyCreated"];

const CHANGED = new Set(["/api/v1/keys", "/api/v1/keys/{key_id}", "/api/v1/keys/{key_id}/effective", "/api/v1/me"]);

export function useKeysChanged(): () => Promise<void> {
  const queries = useQueryClient();
  return useCallback(
    () => queries.invalidateQueries({ predicate: ({ queryKey }) => CHANGED.has(String(queryKey[1])) }),
    [queries],
  );
}

/** For choices in forms; the first page is enough to choose from, more are found by their id. */
export function useModels(isOn = true) {
  const may = useMay();
  return $api.useQuery(
    "get",
    "/api/v1/catalog/models",
    { params: { query: { limit: 100 } } },
    { enabled: isOn && may("catalog:view"), staleTime: 60_000 },
  );
}

export function useProjects(isOn = true) {
  const may = useMay();
  return $api.useQuery(
    "get",
    "/api/v1/projects",
    { params: { query: { limit: 100 } } },
    { enabled: isOn && may("projects:view"), staleTime: 60_000 },
  );
}

/** As lists show it: how it begins and how it ends. */
export function keyHint(key: Pick<Key, "display_prefix" | "last_four">): string {
  return `${key.display_prefix}…${key.last_four}`;
}
