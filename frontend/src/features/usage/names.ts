/** What ids are called. The first pages are enough for most; what is on none of them keeps its id. */
import { useMemo } from "react";
import { $api } from "@/api/client";
import { useMay, useSession } from "@/lib/session";
import type { GroupName } from "./question";

const PAGE = { params: { query: { limit: 100 } } };
const KEPT = { staleTime: 300_000 };

export function useNames(group: GroupName): (id: string) => string {
  const may = useMay();
  const { tenants } = useSession();
  const keys = $api.useQuery("get", "/api/v1/keys", PAGE, { ...KEPT, enabled: group === "key" });
  const teams = $api.useQuery("get", "/api/v1/teams", PAGE, {
    ...KEPT,
    enabled: group === "team" && may("teams:view"),
  });
  const projects = $api.useQuery("get", "/api/v1/projects", PAGE, {
    ...KEPT,
    enabled: group === "project" && may("projects:view"),
  });
  const users = $api.useQuery("get", "/api/v1/users", PAGE, {
    ...KEPT,
    enabled: group === "user" && may("users:view"),
  });
  const all = $api.useQuery("get", "/api/v1/tenants", PAGE, {
    ...KEPT,
    enabled: group === "tenant" && may("tenants:view"),
  });
  return useMemo(() => {
    const known = new Map<string, string>();
    for (const one of keys.data?.data ?? []) known.set(one.id, one.name);
    for (const one of teams.data?.data ?? []) known.set(one.id, one.name);
    for (const one of projects.data?.data ?? []) known.set(one.id, one.name);
    for (const one of users.data?.data ?? []) known.set(one.id, one.email ?? one.id);
    for (const one of [...tenants, ...(all.data?.data ?? [])]) known.set(one.id, one.name);
    return (id) => known.get(id) ?? id;
  }, [keys.data, teams.data, projects.data, users.data, all.data, tenants]);
}
