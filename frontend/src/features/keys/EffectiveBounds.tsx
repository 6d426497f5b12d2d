/** What holds for a key in the end: each bound, and the level it comes from (tenant → team → project → user → key). */
import { Stack, Table, Text } from "@mantine/core";
import { $api, type Schemas } from "@/api/client";
import { formatCount, formatUsd } from "@/lib/format";
import { StatusBadge } from "@/ui/StatusBadge";
import { Failed, Loading } from "@/ui/states";

function sourceName(source: Schemas["Source"] | null): string {
  if (source === null) return "platform";
  return source.name ? `${source.kind} ${source.name}` : source.kind;
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return "no bound";
  if (Array.isArray(value)) return value.length > 0 ? value.join(", ") : "none";
  return String(value);
}

export function EffectiveBounds({ id }: { id: string }) {
  const { data, error, refetch } = $api.useQuery("get", "/api/v1/keys/{key_id}/effective", {
    params: { path: { key_id: id } },
  });
  if (error) return <Failed error={error} onRetry={() => void refetch()} />;
  if (!data) return <Loading />;
  const attributes: [string, { value: unknown; source: Schemas["Source"] }][] = [
    ["Usable", data.is_active],
    ["Models", data.allowed_models],
    ["Providers", data.allowed_providers],
    ["Requests a minute", data.requests_per_minute],
    ["Endpoints", data.allowed_endpoints],
    ["Addresses", data.allowed_addresses],
    ["Origins", data.allowed_origins],
    ["Logging", data.logging_policy],
    ["Expires", data.expires_at],
  ];
  return (
    <Stack>
      {data.refusal && <StatusBadge tone="bad">{data.refusal}</StatusBadge>}
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>What</Table.Th>
            <Table.Th>Holds</Table.Th>
            <Table.Th>Because of</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {attributes.map(([name, attribute]) => (
            <Table.Tr key={name}>
              <Table.Td>{name}</Table.Td>
              <Table.Td style={{ overflowWrap: "anywhere" }}>{shown(attribute.value)}</Table.Td>
              <Table.Td>{sourceName(attribute.source)}</Table.Td>
            </Table.Tr>
          ))}
          {(data.limits ?? []).map((limit, index) => (
            <Table.Tr key={limit.id ?? `default ${index}`}>
              <Table.Td>Limit</Table.Td>
              <Table.Td>
                {formatCount(limit.amount)} {limit.unit.replace("_", " ")}
                {limit.period ? ` a ${limit.period}` : ""} {limit.is_shadow ? "(refuses nothing)" : ""}
              </Table.Td>
              <Table.Td>{sourceName(limit.source)}</Table.Td>
            </Table.Tr>
          ))}
          {(data.budgets ?? []).map((budget) => (
            <Table.Tr key={budget.id}>
              <Table.Td>Budget</Table.Td>
              <Table.Td>
                {formatUsd(budget.amount_usd)} a {budget.window}
              </Table.Td>
              <Table.Td>{sourceName(budget.source)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Text size="xs" c="var(--tk-faint)">
        Levels, outermost first: {data.levels.map(sourceName).join(" → ")}
      </Text>
    </Stack>
  );
}
