/** Every limit on requests, tokens and parallel calls. */
import { Button, Select } from "@mantine/core";
import { Plus } from "lucide-react";
import { useMemo, useState } from "react";
import { $api } from "@/api/client";
import { formatCount } from "@/lib/format";
import { KEYSET, useRows } from "@/lib/paging";
import { useMay } from "@/lib/session";
import { useUrlState } from "@/lib/urlState";
import { type Column, DataTable } from "@/ui/DataTable";
import { useOpenRow } from "@/ui/DetailDrawer";
import { Moment } from "@/ui/Moment";
import { PageHeader } from "@/ui/PageHeader";
import { StatusBadge } from "@/ui/StatusBadge";
import { Empty } from "@/ui/states";
import { TenantFilter, useTenantFilter } from "@/ui/TenantFilter";
import { CreateLimit, LimitDrawer } from "./LimitDrawer";
import { type Limit, rateWords } from "./limitForm";
import { useScopeNames } from "./names";
import { KINDS, scopeWords, titleOf } from "./scope";

export default function LimitsPage() {
  const [url, setUrl] = useUrlState();
  const [openId, setOpenId] = useOpenRow();
  const may = useMay();
  const [isCreating, setCreating] = useState(false);
  const tenant = useTenantFilter();
  const { named } = useScopeNames();
  const kind = KINDS.find(({ value }) => value === url.get("on"))?.value;
  const list = $api.useInfiniteQuery(
    "get",
    "/api/v1/limits",
    { params: { query: { scope_kind: kind, tenant_id: tenant } } },
    KEYSET,
  );
  const rows = useRows<Limit>(list.data);
  const columns = useMemo<Column<Limit>[]>(
    () => [
      { id: "name", header: "Name", cell: (limit) => <strong>{titleOf(limit)}</strong>, isFixed: true },
      { id: "rate", header: "At most", cell: (limit) => rateWords(limit) },
      { id: "on", header: "Calls of", cell: (limit) => scopeWords(limit.scope, named) },
      { id: "models", header: "Models", cell: (limit) => limit.models?.join(", ") ?? "all" },
      {
        id: "refuses",
        header: "Over it",
        cell: (limit) =>
          limit.is_shadow ? (
            <StatusBadge tone="calm">only counted</StatusBadge>
          ) : (
            <StatusBadge tone="info">refused</StatusBadge>
          ),
      },
      {
        id: "override",
        header: "For a while",
        cell: (limit) =>
          limit.override_amount === null ? (
            "–"
          ) : (
            <>
              {formatCount(limit.override_amount)}, until <Moment at={limit.override_until} relative />
            </>
          ),
      },
      { id: "burst", header: "At once", cell: (limit) => formatCount(limit.burst), align: "right", isOptional: true },
      { id: "managed", header: "Managed by", cell: (limit) => limit.origin ?? limit.managed_by, isOptional: true },
    ],
    [named],
  );
  const create = may("limits:create") ? (
    <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setCreating(true)}>
      Set a limit
    </Button>
  ) : null;
  return (
    <>
      <PageHeader title="Limits" actions={create}>
        How much may come in a second, a minute, an hour, a day, or at once: the same number on one worker and on many.
      </PageHeader>
      <DataTable
        label="Limits"
        columns={columns}
        rows={rows}
        rowId={(limit) => limit.id}
        rowLabel={(limit) => `Limit ${titleOf(limit)}`}
        query={list}
        openId={openId}
        onOpen={setOpenId}
        toolbar={
          <>
            <TenantFilter />
            <Select
              label="Calls of a"
              size="xs"
              placeholder="All"
              clearable
              data={KINDS.map(({ value, label }) => ({ value, label }))}
              value={kind ?? null}
              onChange={(on) => setUrl({ on })}
            />
          </>
        }
        empty={
          kind !== undefined ? (
            <Empty title="No limit is about these.">
              <Button variant="default" size="xs" onClick={() => setUrl({ on: null })}>
                Show all
              </Button>
            </Empty>
          ) : (
            <Empty
              title="There is no limit yet."
              call={{
                method: "POST",
                path: "/api/v1/limits",
                body: { name: "each key", scope: { kind: "key" }, unit: "requests", period: "minute", amount: 600 },
              }}
              action={create}
            >
              Calls are held back by budgets and by what providers take.
            </Empty>
          )
        }
      />
      {openId !== undefined && (
        <LimitDrawer id={openId} neighbours={rows.map((limit) => limit.id)} onClose={() => setOpenId(null)} />
      )}
      <CreateLimit opened={isCreating} onClose={() => setCreating(false)} />
    </>
  );
}
