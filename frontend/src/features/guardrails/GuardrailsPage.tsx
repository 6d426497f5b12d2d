/** Every policy on what may be said, and a box to try a text in. */
import { Button, Stack, Tabs } from "@mantine/core";
import { Plus } from "lucide-react";
import { useState } from "react";
import { $api } from "@/api/client";
import { KEYSET, useRows } from "@/lib/paging";
import { useMay } from "@/lib/session";
import { useUrlState } from "@/lib/urlState";
import { type Column, DataTable } from "@/ui/DataTable";
import { useOpenRow } from "@/ui/DetailDrawer";
import { Moment } from "@/ui/Moment";
import { PageHeader } from "@/ui/PageHeader";
import { Empty } from "@/ui/states";
import { TenantFilter, useTenantFilter } from "@/ui/TenantFilter";
import { CreatePolicy, PolicyDrawer, PolicyState } from "./PolicyDrawer";
import { type Policy, policyWords } from "./policies";
import { TestBox } from "./TestBox";

const COLUMNS: Column<Policy>[] = [
  { id: "name", header: "Name", cell: (policy) => <strong>{policy.name}</strong>, isFixed: true },
  { id: "state", header: "State", cell: (policy) => <PolicyState of={policy} /> },
  { id: "holds", header: "Holds", cell: policyWords },
  { id: "version", header: "Version", cell: (policy) => policy.published_version ?? "–", align: "right" },
  { id: "of", header: "Of", cell: (policy) => (policy.is_platform ? "the platform" : "its tenant") },
  { id: "managed", header: "Managed by", cell: (policy) => policy.managed_by },
  {
    id: "changed",
    header: "Changed",
    cell: (policy) => (policy.updated_at ? <Moment at={policy.updated_at} relative /> : "–"),
    isOptional: true,
  },
];

export default function GuardrailsPage() {
  const [url, setUrl] = useUrlState();
  const [openId, setOpenId] = useOpenRow();
  const may = useMay();
  const [isCreating, setCreating] = useState(false);
  const tenant = useTenantFilter();
  const list = $api.useInfiniteQuery(
    "get",
    "/api/v1/guardrail-policies",
    { params: { query: { tenant_id: tenant } } },
    KEYSET,
  );
  const rows = useRows<Policy>(list.data);
  const create = may("guardrails:update") ? (
    <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setCreating(true)}>
      Write a policy
    </Button>
  ) : null;
  return (
    <>
      <PageHeader title="Guardrails" actions={create}>
        What may be asked and answered, on every endpoint, whole and streamed. Policies of all levels add up.
      </PageHeader>
      <Tabs
        value={url.get("view") ?? "policies"}
        onChange={(view) => setUrl({ view: view === "policies" ? null : view })}
        keepMounted={false}
      >
        <Tabs.List mb="md">
          <Tabs.Tab value="policies">Policies</Tabs.Tab>
          <Tabs.Tab value="test">Test box</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="policies">
          <DataTable
            label="Guardrail policies"
            columns={COLUMNS}
            rows={rows}
            rowId={(policy) => policy.id}
            rowLabel={(policy) => `Policy ${policy.name}`}
            query={list}
            openId={openId}
            onOpen={setOpenId}
            toolbar={<TenantFilter />}
            empty={
              <Empty
                title="There is no policy yet."
                call={{
                  method: "POST",
                  path: "/api/v1/guardrail-policies",
                  body: { name: "watch", starter: "baseline", mode: "monitor", publish: true },
                }}
                action={create}
              >
                Begin with one that only tells: it changes nothing and shows what it would find.
              </Empty>
            }
          />
        </Tabs.Panel>
        <Tabs.Panel value="test">
          <Stack>
            <TestBox />
          </Stack>
        </Tabs.Panel>
      </Tabs>
      {openId !== undefined && (
        <PolicyDrawer id={openId} neighbours={rows.map((policy) => policy.id)} onClose={() => setOpenId(null)} />
      )}
      <CreatePolicy opened={isCreating} onClose={() => setCreating(false)} />
    </>
  );
}
