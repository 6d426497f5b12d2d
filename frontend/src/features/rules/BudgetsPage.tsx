/** Every budget, how much of each is gone, and what will be. */
import { Button, Select, Skeleton } from "@mantine/core";
import { Plus } from "lucide-react";
import { useMemo, useState } from "react";
import { $api } from "@/api/client";
import { formatUsd } from "@/lib/format";
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
import { BudgetBar } from "./BudgetBar";
import { BudgetDrawer, CreateBudget } from "./BudgetDrawer";
import type { Budget } from "./budgetForm";
import { useScopeNames } from "./names";
import { KINDS, type Kind, scopeWords, titleOf } from "./scope";

const EVERY_MS = 15_000;

function useStatus(id: string) {
  return $api.useQuery(
    "get",
    "/api/v1/budgets/{budget_id}/status",
    { params: { path: { budget_id: id } } },
    { refetchInterval: EVERY_MS, staleTime: EVERY_MS },
  );
}

function Gone({ id }: { id: string }) {
  const { data, isError } = useStatus(id);
  if (isError) return <StatusBadge tone="calm">not known now</StatusBadge>;
  return data ? <BudgetBar status={data} /> : <Skeleton height={28} width={160} />;
}

function RunsOut({ id }: { id: string }) {
  const { data } = useStatus(id);
  if (!data) return <>–</>;
  return data.forecast.runs_out_at ? <Moment at={data.forecast.runs_out_at} relative /> : <>not in this window</>;
}

export default function BudgetsPage() {
  const [url, setUrl] = useUrlState();
  const [openId, setOpenId] = useOpenRow();
  const may = useMay();
  const [isCreating, setCreating] = useState(false);
  const tenant = useTenantFilter();
  const { named } = useScopeNames();
  const kind = KINDS.find(({ value }) => value === url.get("on"))?.value;
  const list = $api.useInfiniteQuery(
    "get",
    "/api/v1/budgets",
    { params: { query: { scope_kind: kind, tenant_id: tenant } } },
    KEYSET,
  );
  const rows = useRows<Budget>(list.data);
  const columns = useMemo<Column<Budget>[]>(
    () => [
      { id: "name", header: "Name", cell: (budget) => <strong>{titleOf(budget)}</strong>, isFixed: true },
      { id: "on", header: "Calls of", cell: (budget) => scopeWords(budget.scope, named) },
      { id: "gone", header: "Spent in this window", cell: (budget) => <Gone id={budget.id} />, width: 240 },
      { id: "out", header: "Runs out", cell: (budget) => <RunsOut id={budget.id} /> },
      { id: "window", header: "Window", cell: (budget) => budget.window },
      {
        id: "mode",
        header: "Once spent",
        cell: (budget) =>
          budget.mode === "hard" ? (
            <StatusBadge tone="info">refuses</StatusBadge>
          ) : (
            <StatusBadge tone="calm">tells</StatusBadge>
          ),
      },
      { id: "models", header: "Models", cell: (budget) => budget.models?.join(", ") ?? "all", isOptional: true },
      {
        id: "amount",
        header: "Amount",
        cell: (budget) => formatUsd(budget.amount_usd),
        align: "right",
        isOptional: true,
      },
      { id: "managed", header: "Managed by", cell: (budget) => budget.managed_by, isOptional: true },
    ],
    [named],
  );
  const create = may("budgets:create") ? (
    <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setCreating(true)}>
      Give a budget
    </Button>
  ) : null;
  return (
    <>
      <PageHeader title="Budgets" actions={create}>
        For how much, for whom, in which window. A hard one is never passed, whatever runs in parallel.
      </PageHeader>
      <DataTable
        label="Budgets"
        columns={columns}
        rows={rows}
        rowId={(budget) => budget.id}
        rowLabel={(budget) => `Budget ${titleOf(budget)}`}
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
              onChange={(on) => setUrl({ on: on as Kind | null })}
            />
          </>
        }
        empty={
          kind !== undefined ? (
            <Empty title="No budget is about these.">
              <Button variant="default" size="xs" onClick={() => setUrl({ on: null })}>
                Show all
              </Button>
            </Empty>
          ) : (
            <Empty
              title="There is no budget yet."
              call={{
                method: "POST",
                path: "/api/v1/budgets",
                body: { name: "all of it", scope: { kind: "tenant" }, amount_usd: "100.00", window: "month" },
              }}
              action={create}
            >
              Without one, calls are limited by nothing but rates.
            </Empty>
          )
        }
      />
      {openId !== undefined && (
        <BudgetDrawer id={openId} neighbours={rows.map((budget) => budget.id)} onClose={() => setOpenId(null)} />
      )}
      <CreateBudget opened={isCreating} onClose={() => setCreating(false)} />
    </>
  );
}
