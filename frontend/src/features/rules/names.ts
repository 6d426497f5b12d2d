/** What the ids of scopes are called, and the choices for new ones. */
import { useMemo } from "react";
import { $api } from "@/api/client";
import { useMay, useSession } from "@/lib/session";
import { useTenantFilter } from "@/ui/TenantFilter";
import { hasId, type Kind } from "./scope";

const TENANTS = { params: { query: { limit: 100 } } };
const KEPT = { staleTime: 300_000 };

export function useScopeNames() {
  const tenant = useTenantFilter();
  const page = { params: { query: { limit: 100, tenant_id: tenant } } };
  const may = useMay();
  const { tenants, permissions } = useSession();
  const keys = $api.useQuery("get", "/api/v1/keys", page, { ...KEPT, enabled: may("api_keys:view") });
  const teams = $api.useQuery("get", "/api/v1/teams", page, { ...KEPT, enabled: may("teams:view") });
  const projects = $api.useQuery("get", "/api/v1/projects", page, { ...KEPT, enabled: may("projects:view") });
  const users = $api.useQuery("get", "/api/v1/users", page, { ...KEPT, enabled: may("users:view") });
  const all = $api.useQuery("get", "/api/v1/tenants", TENANTS, {
    ...KEPT,
    enabled: permissions.includes("platform:all_tenants"),
  });
  return useMemo(() => {
    const choices: Partial<Record<Kind, { value: string; label: string }[]>> = {
      tenant: [...tenants, ...(all.data?.data ?? [])].map(({ id, name }) => ({ value: id, label: name })),
      key: keys.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? [],
      team: teams.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? [],
      project: projects.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? [],
      user: users.data?.data.map(({ id, email }) => ({ value: id, label: email ?? id })) ?? [],
    };
    const known = new Map(Object.values(choices).flatMap((all) => all.map(({ value, label }) => [value, label])));
    return {
      named: (id: string) => known.get(id) ?? id,
      choicesOf: (kind: Kind) => (hasId(kind) ? distinct(choices[kind] ?? []) : []),
    };
  }, [tenants, all.data, keys.data, teams.data, projects.data, users.data]);
}

/** A reader's own tenant is in both lists, and a choice may be there once only. */
function distinct<Choice extends { value: string }>(choices: Choice[]): Choice[] {
  return [...new Map(choices.map((one) => [one.value, one])).values()];
}
