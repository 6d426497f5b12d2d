/** Where calls go: the policies that decide, and a call explained. */
import { Tabs } from "@mantine/core";
import { $api } from "@/api/client";
import { KEYSET, useRows } from "@/lib/paging";
import { useUrlState } from "@/lib/urlState";
import { type Column, DataTable } from "@/ui/DataTable";
import { useOpenRow } from "@/ui/DetailDrawer";
import { Moment } from "@/ui/Moment";
import { PageHeader } from "@/ui/PageHeader";
import { Empty } from "@/ui/states";
import { type Policy, strategyWords } from "./branches";
import { Explain } from "./Explain";
import { PolicyDrawer, PolicyState } from "./PolicyDrawer";

const COLUMNS: Column<Policy>[] = [
  { id: "name", header: "Name", cell: (policy) => <strong>{policy.name}</strong>, isFixed: true },
  { id: "state", header: "State", cell: (policy) => <PolicyState of={policy} /> },
  { id: "strategy", header: "Calls go", cell: (policy) => strategyWords(policy.strategy) },
  { id: "branches", header: "Branches", cell: (policy) => policy.branches.length, align: "right" },
  {
    id: "seen",
    header: "Of",
    cell: (policy) => (policy.tenant_id === null ? "everyone" : policy.tenant_id),
    isOptional: true,
  },
  { id: "managed", header: "Managed by", cell: (policy) => policy.managed_by },
  {
    id: "changed",
    header: "Changed",
    cell: (policy) => (policy.updated_at ? <Moment at={policy.updated_at} relative /> : "–"),
  },
];

export default function RoutingPage() {
  const [url, setUrl] = useUrlState();
  const [openId, setOpenId] = useOpenRow();
  const list = $api.useInfiniteQuery("get", "/api/v1/route-policies", {}, KEYSET);
  const rows = useRows<Policy>(list.data);
  return (
    <>
      <PageHeader title="Routing">
        Which provider a call goes to, which one next, and why. Every change is a version that can be taken back.
      </PageHeader>
      <Tabs
        value={url.get("view") ?? "policies"}
        onChange={(view) => setUrl({ view: view === "policies" ? null : view })}
        keepMounted={false}
      >
        <Tabs.List mb="md">
          <Tabs.Tab value="policies">Policies</Tabs.Tab>
          <Tabs.Tab value="explain">Explain a call</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="policies">
          <DataTable
            label="Route policies"
            columns={COLUMNS}
            rows={rows}
            rowId={(policy) => policy.id}
            rowLabel={(policy) => `Policy ${policy.name}`}
            query={list}
            openId={openId}
            onOpen={setOpenId}
            empty={
              <Empty
                title="There is no policy yet."
                call={{
                  method: "POST",
                  path: "/api/v1/route-policies",
                  body: {
                    name: "eu-first",
                    strategy: "priority",
                    branches: [
                      { provider: "azure", model: "gpt-5-mini" },
                      { provider: "openai", model: "gpt-5-mini" },
                    ],
                    publish: true,
                  },
                }}
              >
                Without one, a model's own targets are tried in their order.
              </Empty>
            }
          />
        </Tabs.Panel>
        <Tabs.Panel value="explain">
          <Explain />
        </Tabs.Panel>
      </Tabs>
      {openId !== undefined && (
        <PolicyDrawer id={openId} neighbours={rows.map((policy) => policy.id)} onClose={() => setOpenId(null)} />
      )}
    </>
  );
}
