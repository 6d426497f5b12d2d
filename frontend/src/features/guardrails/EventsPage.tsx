/** What guardrails found in calls: which rule, what kind of thing, what became of it. Texts only where a policy keeps them. */
import { Button, Select } from "@mantine/core";
import { useMemo } from "react";
import { $api, type Schemas } from "@/api/client";
import { formatCount, NONE } from "@/lib/format";
import { KEYSET, useRows } from "@/lib/paging";
import { useUrlState } from "@/lib/urlState";
import { CopyableId } from "@/ui/Copy";
import { type Column, DataTable } from "@/ui/DataTable";
import { Moment } from "@/ui/Moment";
import { PageHeader } from "@/ui/PageHeader";
import { StatusBadge } from "@/ui/StatusBadge";
import { Empty } from "@/ui/states";
import { actionWords, toneOf } from "./spans";

type Event = Schemas["GuardrailEventOut"];
const ACTIONS = ["block", "redact", "redact_reversibly", "flag"] as const;
const DIRECTIONS = ["input", "output"] as const;

export default function EventsPage() {
  const [url, setUrl] = useUrlState();
  const query = {
    rule: url.get("rule"),
    action: ACTIONS.find((one) => one === url.get("action")),
    direction: DIRECTIONS.find((one) => one === url.get("direction")),
  };
  const rules = $api.useQuery("get", "/api/v1/guardrails/rules", {}, { staleTime: 300_000 });
  const list = $api.useInfiniteQuery("get", "/api/v1/guardrails/events", { params: { query } }, KEYSET);
  const rows = useRows<Event>(list.data);
  const isFiltered = Object.values(query).some((value) => value !== undefined);
  const columns = useMemo<Column<Event>[]>(
    () => [
      { id: "when", header: "When", cell: (event) => <Moment at={event.created_at} />, isFixed: true },
      { id: "rule", header: "Rule", cell: (event) => event.rule },
      {
        id: "label",
        header: "Found",
        cell: (event) => `${event.label}${event.count > 1 ? ` × ${formatCount(event.count)}` : ""}`,
      },
      {
        id: "action",
        header: "Then",
        cell: (event) => (
          <StatusBadge tone={toneOf(event.action, event.is_monitored)}>
            {event.is_monitored ? "only told" : actionWords(event.action)}
          </StatusBadge>
        ),
      },
      {
        id: "where",
        header: "Where",
        cell: (event) =>
          `${event.direction === "input" ? "asked" : "answered"}, ${event.role} ${event.place.replace("_", " ")}`,
      },
      { id: "policy", header: "Policy", cell: (event) => `${event.policy} v${event.policy_version}` },
      { id: "model", header: "Model", cell: (event) => event.model ?? NONE },
      { id: "request", header: "Request", cell: (event) => <CopyableId value={event.request_id} what="request id" /> },
      {
        id: "key",
        header: "Key",
        cell: (event) => <CopyableId value={event.api_key_id} what="key id" />,
        isOptional: true,
      },
      { id: "text", header: "Text", cell: (event) => event.text ?? "not kept", isOptional: true },
    ],
    [],
  );
  return (
    <>
      <PageHeader title="Guardrail events">
        What was found in calls and what became of it. The text itself is kept only where a policy says so.
      </PageHeader>
      <DataTable
        label="Guardrail events"
        columns={columns}
        rows={rows}
        rowId={(event) => event.id}
        query={list}
        toolbar={
          <>
            <Select
              label="Rule"
              size="xs"
              placeholder="All"
              clearable
              data={rules.data?.data.map((rule) => rule.name) ?? []}
              value={query.rule ?? null}
              onChange={(rule) => setUrl({ rule })}
            />
            <Select
              label="Then"
              size="xs"
              placeholder="All"
              clearable
              data={ACTIONS.map((one) => ({ value: one, label: actionWords(one) }))}
              value={query.action ?? null}
              onChange={(action) => setUrl({ action })}
            />
            <Select
              label="Where"
              size="xs"
              placeholder="All"
              clearable
              data={[
                { value: "input", label: "asked" },
                { value: "output", label: "answered" },
              ]}
              value={query.direction ?? null}
              onChange={(direction) => setUrl({ direction })}
            />
          </>
        }
        empty={
          isFiltered ? (
            <Empty title="Nothing fits these filters.">
              <Button variant="default" size="xs" onClick={() => setUrl({ rule: null, action: null, direction: null })}>
                Clear the filters
              </Button>
            </Empty>
          ) : (
            <Empty title="Nothing has been found yet." call={{ method: "GET", path: "/api/v1/guardrails/events" }}>
              Attach a policy to see here what it finds.
            </Empty>
          )
        }
      />
    </>
  );
}
