/** Who changed what: filters, the difference each change made, a file of it, and whether the chain still holds. */
import { Alert, Button, Select, Text, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { Download, ShieldCheck } from "lucide-react";
import { $api } from "@/api/client";
import { formatCount } from "@/lib/format";
import { KEYSET, useRows } from "@/lib/paging";
import { useMay } from "@/lib/session";
import { stringifySearch, useUrlState } from "@/lib/urlState";
import { CopyableId } from "@/ui/Copy";
import { type Column, DataTable } from "@/ui/DataTable";
import { useOpenRow } from "@/ui/DetailDrawer";
import { Moment } from "@/ui/Moment";
import { PageHeader } from "@/ui/PageHeader";
import { Empty, Failed } from "@/ui/states";
import { TenantFilter, useTenantFilter } from "@/ui/TenantFilter";
import { AuditDrawer, type Entry, OutcomeBadge } from "./AuditDrawer";

const OUTCOMES = ["success", "refused"] as const;
const TYPING_MS = 400;
const TEXTS = [
  { name: "action", label: "Action", placeholder: "keys.create" },
  { name: "object", label: "Object id", placeholder: "key_…" },
  { name: "actor", label: "Actor id", placeholder: "usr_…" },
  { name: "request", label: "Request id", placeholder: "req_…" },
] as const;

const COLUMNS: Column<Entry>[] = [
  { id: "when", header: "When", cell: (entry) => <Moment at={entry.created_at} />, isFixed: true },
  { id: "who", header: "Who", cell: (entry) => entry.actor.name || entry.actor.id },
  { id: "action", header: "Did", cell: (entry) => <code>{entry.action}</code> },
  { id: "object", header: "To", cell: (entry) => entry.object_type.replaceAll("_", " ") },
  { id: "outcome", header: "Ended", cell: (entry) => <OutcomeBadge of={entry} /> },
  { id: "from", header: "From", cell: (entry) => entry.address ?? "–", isOptional: true },
  { id: "number", header: "Number", cell: (entry) => entry.sequence, align: "right", isOptional: true },
];

export default function AuditPage() {
  const [url, setUrl] = useUrlState();
  const [openId, setOpenId] = useOpenRow();
  const may = useMay();
  const tenant = useTenantFilter();
  const query = {
    tenant_id: tenant,
    action: url.get("action"),
    object_id: url.get("object"),
    actor_id: url.get("actor"),
    request_id: url.get("request"),
    outcome: OUTCOMES.find((one) => one === url.get("outcome")),
  };
  const list = $api.useInfiniteQuery("get", "/api/v1/audit", { params: { query } }, KEYSET);
  const rows = useRows<Entry>(list.data);
  const open = rows.find((entry) => entry.id === openId);
  const type = useDebouncedCallback(
    (name: string, text: string) => setUrl({ [name]: text.trim() }, { replace: true }),
    TYPING_MS,
  );
  // Walks the whole chain, so only when it is asked for.
  const chain = $api.useQuery(
    "get",
    "/api/v1/audit/verify",
    { params: { query: { tenant_id: tenant } } },
    { enabled: false },
  );
  const isFiltered = Object.values(query).some((value) => value !== undefined);
  return (
    <>
      <PageHeader
        title="Audit"
        actions={
          <>
            <Button
              variant="default"
              loading={chain.isFetching}
              onClick={() => void chain.refetch()}
              leftSection={<ShieldCheck size={16} aria-hidden />}
            >
              Check the chain
            </Button>
            {may("audit:export") && (
              <Button
                variant="default"
                component="a"
                download
                href={`/api/v1/audit/export${stringifySearch(query)}`}
                leftSection={<Download size={16} aria-hidden />}
              >
                Export
              </Button>
            )}
          </>
        }
      >
        Every change, who made it and from where. Each record seals the one before it.
      </PageHeader>
      {chain.error !== null && <Failed error={chain.error} />}
      {chain.data && (
        <Alert
          mb="md"
          variant="light"
          color={chain.data.is_intact ? "green" : "red"}
          role="status"
          title={
            chain.data.is_intact
              ? `All ${formatCount(chain.data.records)} records are as they were written.`
              : `The chain is broken at record ${formatCount(chain.data.broken_at)}.`
          }
        >
          <Text size="sm">
            {chain.data.problem ?? "Note this head: a later check with it finds anything left out since."}
          </Text>
          <CopyableId value={chain.data.head} what="head of the chain" />
        </Alert>
      )}
      <DataTable
        label="Audit records"
        columns={COLUMNS}
        rows={rows}
        rowId={(entry) => entry.id}
        rowLabel={(entry) => `${entry.action} by ${entry.actor.name || entry.actor.id}`}
        query={list}
        openId={openId}
        onOpen={setOpenId}
        toolbar={
          <>
            <TenantFilter />
            {TEXTS.map(({ name, label, placeholder }) => (
              <TextInput
                key={`${name} ${url.get(name) ?? ""}`}
                label={label}
                size="xs"
                w={150}
                placeholder={placeholder}
                maxLength={200}
                defaultValue={url.get(name) ?? ""}
                onChange={(event) => type(name, event.currentTarget.value)}
              />
            ))}
            <Select
              label="Ended"
              size="xs"
              w={120}
              placeholder="All"
              clearable
              data={[...OUTCOMES]}
              value={query.outcome ?? null}
              onChange={(outcome) => setUrl({ outcome })}
            />
          </>
        }
        empty={
          <Empty
            title={isFiltered ? "No record fits these filters." : "Nothing has been changed yet."}
            {...(isFiltered ? {} : { call: { method: "GET", path: "/api/v1/audit" } as const })}
          >
            {isFiltered && (
              <Button
                variant="default"
                size="xs"
                onClick={() => setUrl({ action: null, object: null, actor: null, request: null, outcome: null })}
              >
                Clear the filters
              </Button>
            )}
          </Empty>
        }
      />
      {open !== undefined && (
        <AuditDrawer of={open} neighbours={rows.map((entry) => entry.id)} onClose={() => setOpenId(null)} />
      )}
    </>
  );
}
