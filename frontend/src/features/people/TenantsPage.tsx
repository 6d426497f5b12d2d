/** The organisations on this gateway; who administers one alone sees that one. */
import { Button } from "@mantine/core";
import { Plus } from "lucide-react";
import { useState } from "react";
import { $api } from "@/api/client";
import { formatCount, formatUsd } from "@/lib/format";
import { KEYSET, useRows } from "@/lib/paging";
import { useMay } from "@/lib/session";
import { CopyableId } from "@/ui/Copy";
import { type Column, DataTable } from "@/ui/DataTable";
import { useOpenRow } from "@/ui/DetailDrawer";
import { Moment } from "@/ui/Moment";
import { PageHeader } from "@/ui/PageHeader";
import { Empty } from "@/ui/states";
import { CreateTenant, TenantDrawer, TenantStatus } from "./TenantDrawer";
import type { Tenant } from "./tenantForm";

const COLUMNS: Column<Tenant>[] = [
  { id: "name", header: "Name", cell: (tenant) => <strong>{tenant.name}</strong>, isFixed: true },
  { id: "state", header: "State", cell: (tenant) => <TenantStatus of={tenant} /> },
  {
    id: "spent",
    header: "Spent this month",
    cell: (tenant) => formatUsd(tenant.current_spend_usd),
    align: "right",
  },
  {
    id: "budget",
    header: "Budget a month",
    cell: (tenant) => (tenant.monthly_budget_usd === null ? "none" : formatUsd(tenant.monthly_budget_usd)),
    align: "right",
  },
  {
    id: "rate",
    header: "Requests a minute",
    cell: (tenant) => (tenant.rate_limit === null ? "no limit" : formatCount(tenant.rate_limit)),
    align: "right",
  },
  { id: "logging", header: "Kept of calls", cell: (tenant) => tenant.logging_policy },
  { id: "models", header: "Models", cell: (tenant) => tenant.allowed_models?.join(", ") ?? "all", isOptional: true },
  {
    id: "factor",
    header: "Second factor",
    cell: (tenant) => (tenant.require_second_factor ? "needed" : "up to each"),
    isOptional: true,
  },
  { id: "since", header: "Since", cell: (tenant) => <Moment at={tenant.created_at} relative />, isOptional: true },
  { id: "id", header: "Id", cell: (tenant) => <CopyableId value={tenant.id} what="tenant id" />, isOptional: true },
];

export default function TenantsPage() {
  const [openId, setOpenId] = useOpenRow();
  const may = useMay();
  const [isCreating, setCreating] = useState(false);
  const list = $api.useInfiniteQuery("get", "/api/v1/tenants", { params: { query: {} } }, KEYSET);
  const rows = useRows<Tenant>(list.data);
  const create = may("tenants:create") ? (
    <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setCreating(true)}>
      Create a tenant
    </Button>
  ) : null;
  return (
    <>
      <PageHeader title="Tenants" actions={create}>
        Organisations, each with its own people, keys, money and rules; none sees another.
      </PageHeader>
      <DataTable
        label="Tenants"
        columns={COLUMNS}
        rows={rows}
        rowId={(tenant) => tenant.id}
        rowLabel={(tenant) => `Tenant ${tenant.name}`}
        query={list}
        openId={openId}
        onOpen={setOpenId}
        empty={
          <Empty
            title="There is no tenant to see."
            call={{ method: "POST", path: "/api/v1/tenants", body: { name: "Example Ltd", monthly_budget_usd: "250" } }}
            action={create}
          />
        }
      />
      {openId !== undefined && (
        <TenantDrawer id={openId} neighbours={rows.map((tenant) => tenant.id)} onClose={() => setOpenId(null)} />
      )}
      <CreateTenant opened={isCreating} onClose={() => setCreating(false)} />
    </>
  );
}
