/** One call: its story from the key to the bill, and every figure of it. */
import { Anchor, Group, Stack, Table, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { $api, type Schemas } from "@/api/client";
import { formatCount, formatMs, formatUsd, NONE } from "@/lib/format";
import { useMay } from "@/lib/session";
import { CopyableId } from "@/ui/Copy";
import { DetailDrawer } from "@/ui/DetailDrawer";
import { Facts } from "@/ui/Facts";
import { Moment } from "@/ui/Moment";
import { StatusBadge } from "@/ui/StatusBadge";
import { Failed, Loading } from "@/ui/states";
import { Timeline } from "@/ui/Timeline";
import { CallStatus } from "./status";
import { storyOf } from "./story";

type Detail = Schemas["RequestDetail"];

export function RequestDrawer({ id, neighbours, onClose }: { id: string; neighbours: string[]; onClose: () => void }) {
  const call = $api.useQuery("get", "/api/v1/requests/{request_id}", { params: { path: { request_id: id } } });
  const shown = (draw: (detail: Detail) => React.ReactNode) =>
    call.error ? (
      <Failed error={call.error} onRetry={() => void call.refetch()} />
    ) : call.data ? (
      draw(call.data)
    ) : (
      <Loading />
    );
  return (
    <DetailDrawer
      id={id}
      idLabel="request id"
      title={call.data?.model ?? "Request"}
      badge={call.data && <CallStatus of={call.data} />}
      tabs={[
        { value: "story", label: "Story", content: shown((detail) => <Story of={detail} />) },
        { value: "attempts", label: "Attempts", content: shown((detail) => <Attempts of={detail} />) },
        { value: "details", label: "Details", content: shown((detail) => <Details of={detail} />) },
      ]}
      call={{ method: "GET", path: `/api/v1/requests/${id}` }}
      neighbours={neighbours}
      onClose={onClose}
    />
  );
}

function Story({ of: call }: { of: Detail }) {
  return (
    <Stack>
      <Group gap="lg">
        <Figure name="Latency" value={formatMs(call.latency_ms)} />
        <Figure name="First token" value={formatMs(call.first_token_ms)} />
        <Figure name="Gateway's share" value={formatMs(call.overhead_ms)} />
        <Figure name="Cost" value={formatUsd(call.cost_usd)} />
        <Figure
          name="Tokens"
          value={`${formatCount(call.prompt_tokens)} in, ${formatCount(call.completion_tokens)} out`}
        />
      </Group>
      <Timeline steps={storyOf(call)} />
    </Stack>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <Text size="xs" c="var(--tk-faint)">
        {name}
      </Text>
      <Text fw={600}>{value}</Text>
    </div>
  );
}

function Attempts({ of: call }: { of: Detail }) {
  if (call.billed.length === 0) {
    return (
      <Text size="sm" c="var(--tk-faint)">
        {call.attempts === 0
          ? "Nothing was sent to a provider."
          : "No attempt is in the ledger yet; it is a second or two behind."}
      </Text>
    );
  }
  return (
    <Table.ScrollContainer minWidth={560}>
      <Table>
        <Table.Thead>
          <Table.Tr>
            {["#", "Where", "Status", "Latency", "First token", "Tokens", "Cost"].map((name) => (
              <Table.Th key={name}>{name}</Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {call.billed.map((attempt) => (
            <Table.Tr key={attempt.attempt}>
              <Table.Td>{attempt.attempt}</Table.Td>
              <Table.Td style={{ overflowWrap: "anywhere" }}>
                {attempt.provider} / {attempt.upstream_model}
                {attempt.upstream_request_id && (
                  <CopyableId value={attempt.upstream_request_id} what="provider's request id" />
                )}
              </Table.Td>
              <Table.Td>
                <StatusBadge tone={attempt.status === "ok" ? "good" : "bad"}>
                  {`${attempt.status} ${attempt.http_status}`}
                </StatusBadge>
                {attempt.error_code && <Text size="xs">{attempt.error_code}</Text>}
              </Table.Td>
              <Table.Td>{formatMs(attempt.latency_ms)}</Table.Td>
              <Table.Td>{formatMs(attempt.first_token_ms)}</Table.Td>
              <Table.Td>
                {formatCount(attempt.prompt_tokens)} + {formatCount(attempt.completion_tokens)}
                {attempt.estimated ? " estimated" : ""}
              </Table.Td>
              <Table.Td>{formatUsd(attempt.cost_usd)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function Details({ of: call }: { of: Detail }) {
  const may = useMay();
  return (
    <Facts
      facts={[
        ["Time", <Moment key="time" at={call.created_at} />],
        ["Your own id", call.client_request_id && <CopyableId key="own" value={call.client_request_id} />],
        ["Operation", `${call.operation} (${call.dialect})`],
        ["Stream", call.is_stream ? "yes" : "no"],
        ["HTTP status", call.http_status],
        ["Error", call.error_code],
        ["Ended", call.ended],
        ["Asked for", call.model],
        ["Answered by", call.provider ? `${call.provider} / ${call.upstream_model ?? NONE}` : null],
        ["Attempts", call.attempts],
        ["Cache", call.cache],
        ["Guardrail", call.guardrail],
        [
          "Key",
          may("api_keys:view") ? (
            <Anchor
              key="key"
              component={Link}
              inherit
              underline="always"
              {...({ to: "/keys", search: { open: call.api_key_id } } as object)}
            >
              {call.api_key_id}
            </Anchor>
          ) : (
            call.api_key_id
          ),
        ],
        ["Environment", call.environment],
        ["User", call.user_id],
        ["Team", call.team_id],
        ["Project", call.project_id],
        ["Tenant", call.tenant_id],
        ["End user", call.end_user],
        ["Run", call.run_id],
      ]}
    />
  );
}
