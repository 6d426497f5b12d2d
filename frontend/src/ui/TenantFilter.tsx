/** Whose objects a list shows, for who sees all tenants: stands in the URL as `tenant`. Others see nothing of it. */
import { Select } from "@mantine/core";
import { $api } from "@/api/client";
import { useSession } from "@/lib/session";
import { useUrlState } from "@/lib/urlState";

/** The tenant chosen; undefined is the reader's own. */
export function useTenantFilter(): string | undefined {
  const [url] = useUrlState();
  const { permissions } = useSession();
  return permissions.includes("platform:all_tenants") ? url.get("tenant") : undefined;
}

export function TenantFilter() {
  const [url, setUrl] = useUrlState();
  const { permissions, tenant } = useSession();
  const isPlatform = permissions.includes("platform:all_tenants");
  const tenants = $api.useQuery(
    "get",
    "/api/v1/tenants",
    { params: { query: { limit: 100 } } },
    { enabled: isPlatform, staleTime: 60_000 },
  );
  if (!isPlatform) return null;
  return (
    <Select
      label="Tenant"
      size="xs"
      placeholder={tenant.name}
      clearable
      searchable
      limit={100}
      data={tenants.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? []}
      value={url.get("tenant") ?? null}
      onChange={(chosen) => setUrl({ tenant: chosen, open: null })}
    />
  );
}
