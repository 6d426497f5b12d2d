/** What each role may do: the built-in ones and the tenant's own, one column each. */
import { Button, ScrollArea, Table, Text, VisuallyHidden } from "@mantine/core";
import { Check } from "lucide-react";
import { Fragment } from "react";
import { $api } from "@/api/client";
import { KEYSET, useRows } from "@/lib/paging";
import { PageHeader } from "@/ui/PageHeader";
import { Empty, Failed, Loading } from "@/ui/states";
import { TenantFilter, useTenantFilter } from "@/ui/TenantFilter";
import { byNoun, type PermissionRow, type Role } from "./matrix";

export default function RolesPage() {
  const tenant = useTenantFilter();
  const list = $api.useInfiniteQuery(
    "get",
    "/api/v1/roles",
    { params: { query: { limit: 100, tenant_id: tenant } } },
    KEYSET,
  );
  const permissions = $api.useQuery("get", "/api/v1/roles/permissions", {}, { staleTime: 300_000 });
  const roles = useRows<Role>(list.data);
  const error = list.error ?? permissions.error;
  return (
    <>
      <PageHeader title="Roles">
        What each role may do. The tenant's own roles stand after the built-in ones; nobody gives more than they may.
      </PageHeader>
      <TenantFilter />
      {error ? (
        <Failed error={error} onRetry={() => void Promise.all([list.refetch(), permissions.refetch()])} />
      ) : list.isPending || permissions.isPending ? (
        <Loading rows={10} what="Loading roles" />
      ) : roles.length === 0 ? (
        <Empty
          title="There is no role to see."
          call={{
            method: "POST",
            path: "/api/v1/roles",
            body: { name: "auditor", permissions: ["audit:view", "requests:view"] },
          }}
        />
      ) : (
        <Matrix roles={roles} permissions={permissions.data?.data ?? []} />
      )}
      {list.hasNextPage && (
        <Button
          mt="sm"
          variant="default"
          size="xs"
          loading={list.isFetchingNextPage}
          onClick={() => void list.fetchNextPage()}
        >
          Load more roles
        </Button>
      )}
    </>
  );
}

function Matrix({ roles, permissions }: { roles: Role[]; permissions: PermissionRow[] }) {
  return (
    <ScrollArea mt="sm" viewportProps={{ tabIndex: 0, role: "region", "aria-label": "Permissions of each role" }}>
      <Table highlightOnHover>
        <caption>
          <VisuallyHidden>Permissions of each role</VisuallyHidden>
        </caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Permission</Table.Th>
            {roles.map((role) => (
              <Table.Th key={role.id ?? role.name} scope="col" style={{ overflowWrap: "anywhere", minWidth: 96 }}>
                {role.name}
                <Text size="xs" c="var(--tk-faint)">
                  {role.is_built_in ? "built in" : "your own"}
                </Text>
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {byNoun(permissions).map(([noun, rows]) => (
            <Fragment key={noun}>
              <Table.Tr>
                <Table.Th colSpan={roles.length + 1} scope="rowgroup">
                  {noun}
                </Table.Th>
              </Table.Tr>
              {rows.map((row) => (
                <Table.Tr key={row.name}>
                  <Table.Th scope="row" fw={400} style={{ minWidth: 260 }}>
                    <code>{row.name}</code>
                    <Text size="xs" c="var(--tk-faint)">
                      {row.description}
                    </Text>
                  </Table.Th>
                  {roles.map((role) => (
                    <Table.Td key={role.id ?? role.name}>
                      {role.permissions.includes(row.name) ? (
                        <>
                          <Check size={16} aria-hidden />
                          <VisuallyHidden>yes</VisuallyHidden>
                        </>
                      ) : (
                        <VisuallyHidden>no</VisuallyHidden>
                      )}
                    </Table.Td>
                  ))}
                </Table.Tr>
              ))}
            </Fragment>
          ))}
        </Table.Tbody>
      </Table>
    </ScrollArea>
  );
}
