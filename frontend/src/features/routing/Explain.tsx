/** Where a call would go and why: the compiled plan, without calling anyone. */
import { Button, Group, JsonInput, Paper, Select, Stack, Table, Text, Title } from "@mantine/core";
import { useState } from "react";
import { $api, type Schemas } from "@/api/client";
import { formatCount, formatMs, formatUsd } from "@/lib/format";
import { useMay } from "@/lib/session";
import { useUrlState } from "@/lib/urlState";
import { Facts } from "@/ui/Facts";
import { StatusBadge } from "@/ui/StatusBadge";
import { Failed } from "@/ui/states";
import { FALLBACKS } from "./branches";

type Target = Schemas["RoutedTargetOut"];
const PAGE = { params: { query: { limit: 100 } } };

function bodyFault(text: string): string | null {
  if (text.trim() === "") return null;
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === "object" && body !== null && !Array.isArray(body) ? null : "The body of a call: { … }";
  } catch (error) {
    return error instanceof SyntaxError ? error.message : "This is no JSON.";
  }
}

export function Explain() {
  const may = useMay();
  const [url, setUrl] = useUrlState();
  const [body, setBody] = useState("");
  const models = $api.useQuery("get", "/api/v1/catalog/models", PAGE, { staleTime: 60_000 });
  const keys = $api.useQuery("get", "/api/v1/keys", PAGE, { staleTime: 60_000, enabled: may("api_keys:view") });
  const explain = $api.useMutation("post", "/api/v1/router/explain");
  const model = url.get("model") ?? "";
  const key = url.get("key") ?? null;
  const fault = bodyFault(body);
  const told = explain.data;
  return (
    <Stack>
      <Group align="flex-end">
        <Select
          label="A call of the model"
          searchable
          w={260}
          data={[...new Set(models.data?.data.map(({ name }) => name))]}
          value={model || null}
          onChange={(chosen) => setUrl({ model: chosen })}
        />
        <Select
          label="With the key"
          placeholder="your own standing"
          searchable
          clearable
          w={240}
          data={keys.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? []}
          value={key}
          onChange={(chosen) => setUrl({ key: chosen })}
        />
      </Group>
      <JsonInput
        label="Its body, where that matters"
        placeholder='{"messages": [{"role": "user", "content": "…"}], "tools": []}'
        formatOnBlur
        minRows={3}
        value={body}
        error={fault}
        onChange={setBody}
      />
      <Group>
        <Button
          disabled={model === "" || fault !== null}
          loading={explain.isPending}
          onClick={() =>
            explain.mutate({
              body: {
                model,
                ...(key !== null && { key_id: key }),
                ...(body.trim() && { body: JSON.parse(body) as Record<string, unknown> }),
              },
            })
          }
        >
          Explain
        </Button>
        <Text size="xs" c="var(--tk-faint)">
          Nobody is called and nothing is charged.
        </Text>
      </Group>
      {explain.error && <Failed error={explain.error} />}
      {told && (
        <Paper withBorder p="md" role="status" aria-label="Explanation">
          <Stack>
            {told.refusal && (
              <Group gap="xs">
                <StatusBadge tone="bad">{`${told.refusal.status} ${told.refusal.code}`}</StatusBadge>
                <Text size="sm">{told.refusal.message}</Text>
              </Group>
            )}
            <Targets title="Tried in this order" targets={told.targets} />
            {told.left_out.length > 0 && (
              <Table aria-label="Left out">
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th>Left out</Table.Th>
                    <Table.Th>Why</Table.Th>
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {told.left_out.map((one) => (
                    <Table.Tr key={`${one.provider} ${one.model} ${one.reason}`}>
                      <Table.Td>
                        {one.provider} / {one.model}
                      </Table.Td>
                      <Table.Td>
                        <StatusBadge tone="warn">{one.reason.replaceAll("_", " ")}</StatusBadge> {one.detail}
                      </Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            )}
            {told.fallbacks.map(({ kind, targets }) => (
              <Targets
                key={kind}
                title={`Instead, ${FALLBACKS[kind as keyof typeof FALLBACKS] ?? kind.replaceAll("_", " ")}`}
                targets={targets}
              />
            ))}
            <Facts
              facts={[
                [
                  "Decided by",
                  told.policy === null
                    ? "the model's own targets"
                    : `policy ${told.policy}, version ${told.policy_version ?? "of the file"}`,
                ],
                ["Tokens in, about", formatCount(told.input_tokens)],
                ["Tokens out, at most", formatCount(told.output_tokens)],
                ["Costs usually", formatUsd(told.usual_usd)],
                ["Costs at most", formatUsd(told.most_usd)],
                [
                  "Limits that count it",
                  told.limits
                    .map(
                      (limit) =>
                        `${formatCount(limit.amount)} ${limit.unit.replace("_", " ")}${limit.period ? ` a ${limit.period}` : ""} (${limit.scope})`,
                    )
                    .join("; ") || "none",
                ],
                [
                  "Budgets that pay it",
                  told.budgets
                    .map(
                      (budget) =>
                        `${formatUsd(budget.amount_usd)} a ${budget.window}, ${budget.mode} (${budget.scope})`,
                    )
                    .join("; ") || "none",
                ],
                ["Notes", told.notes.join(" ")],
              ]}
            />
          </Stack>
        </Paper>
      )}
    </Stack>
  );
}

function Targets({ title, targets }: { title: string; targets: Target[] }) {
  return (
    <div>
      <Title order={3} size="h5" mb={4}>
        {title}
      </Title>
      {targets.length === 0 ? (
        <Text size="sm">Nobody.</Text>
      ) : (
        <Table aria-label={title}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Target</Table.Th>
              <Table.Th ta="right">Million in / out</Table.Th>
              <Table.Th ta="right">First token</Table.Th>
              <Table.Th>State</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {targets.map((target, index) => (
              <Table.Tr key={`${target.provider} ${target.model}`}>
                <Table.Td style={{ overflowWrap: "anywhere" }}>
                  {index + 1}. {target.provider} / {target.model}
                </Table.Td>
                <Table.Td ta="right">
                  {target.price === null
                    ? "no price"
                    : `${formatUsd(target.price.input_per_million)} / ${formatUsd(target.price.output_per_million)}`}
                </Table.Td>
                <Table.Td ta="right">{formatMs(target.latency_ms)}</Table.Td>
                <Table.Td>
                  {target.blocked_seconds > 0 ? (
                    <StatusBadge tone="bad">{`blocked for ${Math.ceil(target.blocked_seconds)} s`}</StatusBadge>
                  ) : (
                    <StatusBadge tone="good">open to calls</StatusBadge>
                  )}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </div>
  );
}
