/** Every call that is over, newest first, live if wanted; a row opens its whole story. */
import { Button, Text } from "@mantine/core";
import { Pause, Radio } from "lucide-react";
import { $api } from "@/api/client";
import type { StreamState } from "@/api/events";
import { formatCount, formatMs, formatUsd, NONE, zoneName } from "@/lib/format";
import { KEYSET, useRows } from "@/lib/paging";
import { useRange } from "@/lib/range";
import { useSession } from "@/lib/session";
import { snippetOf } from "@/lib/snippets";
import { useUrlState } from "@/lib/urlState";
import { useZone } from "@/lib/zone";
import { CodeBlock } from "@/ui/Copy";
import { type Column, DataTable } from "@/ui/DataTable";
import { useOpenRow } from "@/ui/DetailDrawer";
import { Moment } from "@/ui/Moment";
import { PageHeader } from "@/ui/PageHeader";
import { Empty } from "@/ui/states";
import { FilterBar } from "./FilterBar";
import { FILTERS, isFiltered, queryOf } from "./filters";
import { useLive } from "./live";
import { RequestDrawer } from "./RequestDrawer";
import { type Call, CallStatus } from "./status";

const COLUMNS: Column<Call>[] = [
  { id: "time", header: "Time", cell: (call) => <Moment at={call.created_at} />, isFixed: true },
  { id: "status", header: "Status", cell: (call) => <CallStatus of={call} /> },
  { id: "model", header: "Model", cell: (call) => call.model ?? NONE },
  { id: "provider", header: "Provider", cell: (call) => call.provider ?? NONE },
  { id: "latency", header: "Latency", align: "right", cell: (call) => formatMs(call.latency_ms) },
  { id: "first", header: "First token", align: "right", cell: (call) => formatMs(call.first_token_ms) },
  { id: "own", header: "Own share", align: "right", cell: (call) => formatMs(call.overhead_ms), isOptional: true },
  { id: "in", header: "Tokens in", align: "right", cell: (call) => formatCount(call.prompt_tokens) },
  { id: "out", header: "Tokens out", align: "right", cell: (call) => formatCount(call.completion_tokens) },
  { id: "cost", header: "Cost", align: "right", cell: (call) => formatUsd(call.cost_usd) },
  { id: "attempts", header: "Attempts", align: "right", cell: (call) => call.attempts, isOptional: true },
  { id: "cache", header: "Cache", cell: (call) => call.cache ?? NONE, isOptional: true },
  { id: "guardrail", header: "Guardrail", cell: (call) => call.guardrail ?? NONE, isOptional: true },
  { id: "error", header: "Error", cell: (call) => call.error_code ?? NONE, isOptional: true },
  { id: "operation", header: "Operation", cell: (call) => call.operation, isOptional: true },
  { id: "user", header: "End user", cell: (call) => call.end_user ?? NONE, isOptional: true },
  { id: "id", header: "Request id", cell: (call) => <code>{call.request_id}</code>, isOptional: true },
];

const LIVE_WORDS: Record<StreamState, string> = {
  off: "",
  connecting: "Connecting …",
  live: "Live",
  lost: "The stream is lost; asking every 10 seconds",
};

export default function RequestsPage() {
  const [url, setUrl] = useUrlState();
  const { zone } = useZone();
  const [openId, setOpenId] = useOpenRow();
  const query = queryOf(url, useRange());
  const isLive = url.get("live") === "1";
  const paged = $api.useInfiniteQuery(
    "get",
    "/api/v1/requests",
    { params: { query } },
    { ...KEYSET, enabled: !isLive },
  );
  const pagedRows = useRows<Call>(paged.data);
  const live = useLive(query, isLive);
  const rows = isLive ? (live.list.data?.data ?? NO_ROWS) : pagedRows;

  return (
    <>
      <PageHeader
        title="Requests"
        actions={
          <>
            {isLive && (
              <Text size="sm" c="var(--tk-faint)" role="status">
                {LIVE_WORDS[live.state]}
              </Text>
            )}
            <Button
              variant={isLive ? "filled" : "default"}
              aria-pressed={isLive}
              leftSection={isLive ? <Pause size={16} aria-hidden /> : <Radio size={16} aria-hidden />}
              onClick={() => setUrl({ live: isLive ? null : "1" }, { replace: true })}
            >
              {isLive ? "Pause" : "Live"}
            </Button>
          </>
        }
      >
        Calls that are over, newest first. Times are {zoneName(zone)}.
      </PageHeader>
      <DataTable
        label="Requests"
        columns={COLUMNS}
        rows={rows}
        rowId={(call) => call.request_id}
        rowLabel={(call) => `${call.status}, ${call.model ?? "no model"}, ${formatMs(call.latency_ms)}`}
        query={isLive ? live.list : paged}
        openId={openId}
        onOpen={setOpenId}
        toolbar={<FilterBar />}
        empty={
          isFiltered(url) ? (
            <Empty
              title="No call fits these filters."
              action={
                <Button
                  variant="default"
                  size="xs"
                  onClick={() => setUrl(Object.fromEntries(FILTERS.map((name) => [name, null])))}
                >
                  Clear the filters
                </Button>
              }
            >
              Look at a longer range, or at fewer filters.
            </Empty>
          ) : (
            <Empty title="No call in this range.">
              <FirstCall />
            </Empty>
          )
        }
      />
      {openId !== undefined && (
        <RequestDrawer id={openId} neighbours={rows.map((call) => call.request_id)} onClose={() => setOpenId(null)} />
      )}
    </>
  );
}

const NO_ROWS: Call[] = [];

function FirstCall() {
  const { base_url } = useSession();
  return (
    <>
      Make one, with a key of yours:
      <CodeBlock code={snippetOf("curl", base_url, "$TOLLKEEPER_KEY", "simulated")} what="curl command" />
    </>
  );
}
