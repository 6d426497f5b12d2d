/** Every provider, and how it is doing. */
import { Button } from "@mantine/core";
import { Plus } from "lucide-react";
import { useMemo, useState } from "react";
import { $api, type Schemas } from "@/api/client";
import { formatMs, formatShare, NONE } from "@/lib/format";
import { KEYSET, useRows } from "@/lib/paging";
import { useMay } from "@/lib/session";
import { type Column, DataTable } from "@/ui/DataTable";
import { useOpenRow } from "@/ui/DetailDrawer";
import { PageHeader } from "@/ui/PageHeader";
import { StatusBadge } from "@/ui/StatusBadge";
import { Empty } from "@/ui/states";
import { CreateProvider } from "./CreateProvider";
import { byProvider, stateOf, type Target, worstOf } from "./health";
import { ProviderDrawer } from "./ProviderDrawer";

type Provider = Schemas["ProviderOut"];
const EVERY_MS = 5_000;
const NO_TARGETS: Target[] = [];

function Health({ of: provider, targets }: { of: Provider; targets: Target[] }) {
  if (!provider.is_active) return <StatusBadge tone="calm">switched off</StatusBadge>;
  const worst = worstOf(targets);
  if (worst === undefined) return <StatusBadge tone="calm">not called yet</StatusBadge>;
  const { tone, words } = stateOf(worst.state);
  const count = targets.filter((target) => target.state === worst.state).length;
  const isPart = worst.state !== "closed" && targets.length > 1;
  return <StatusBadge tone={tone}>{isPart ? `${words}: ${count} of ${targets.length}` : words}</StatusBadge>;
}

export default function ProvidersPage() {
  const [openId, setOpenId] = useOpenRow();
  const may = useMay();
  const [isCreating, setCreating] = useState(false);
  const list = $api.useInfiniteQuery("get", "/api/v1/catalog/providers", {}, KEYSET);
  const rows = useRows<Provider>(list.data);
  const health = $api.useQuery(
    "get",
    "/api/v1/router/health",
    { params: { query: { limit: 100 } } },
    { enabled: may("router:view"), refetchInterval: EVERY_MS },
  );
  const targets = health.data?.data ?? NO_TARGETS;
  const columns = useMemo<Column<Provider>[]>(() => {
    const known = byProvider(targets);
    const of = (provider: Provider) => known.get(provider.name) ?? [];
    const most = (values: (number | null)[]) => {
      const said = values.filter((value) => value !== null);
      return said.length > 0 ? Math.max(...said) : null;
    };
    return [
      { id: "name", header: "Name", cell: (provider) => <strong>{provider.name}</strong>, isFixed: true },
      { id: "kind", header: "Kind", cell: (provider) => provider.kind },
      { id: "health", header: "Health", cell: (provider) => <Health of={provider} targets={of(provider)} /> },
      {
        id: "latency",
        header: "First token, slowest p95",
        cell: (provider) => formatMs(most(of(provider).map((target) => target.latency_ms_p95))),
        align: "right",
      },
      {
        id: "errors",
        header: "Failed, worst",
        cell: (provider) => {
          const share = most(of(provider).map((target) => target.error_share));
          return share === null ? NONE : formatShare(share, 1);
        },
        align: "right",
      },
      {
        id: "credential",
        header: "Credential",
        cell: (provider) => (provider.has_credential === null ? NONE : provider.has_credential ? "there" : "none"),
      },
      { id: "managed", header: "Managed by", cell: (provider) => provider.managed_by },
      { id: "url", header: "Base URL", cell: (provider) => provider.base_url ?? NONE, isOptional: true },
    ];
  }, [targets]);
  const create = may("catalog:update") ? (
    <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setCreating(true)}>
      Add a provider
    </Button>
  ) : null;
  return (
    <>
      <PageHeader title="Providers" actions={create}>
        Who answers, and how well of late. Each worker judges by its own calls; these are of the one that answered.
      </PageHeader>
      <DataTable
        label="Providers"
        columns={columns}
        rows={rows}
        rowId={(provider) => provider.id}
        rowLabel={(provider) => `Provider ${provider.name}`}
        query={list}
        openId={openId}
        onOpen={setOpenId}
        empty={
          <Empty
            title="There is no provider yet."
            call={{
              method: "POST",
              path: "/api/v1/catalog/providers",
              body: { name: "openai", kind: "openai", api_key: "…" },
            }}
            action={create}
          >
            Or set OPENAI_API_KEY, or another vendor's variable, where the gateway is started.
          </Empty>
        }
      />
      {openId !== undefined && (
        <ProviderDrawer
          id={openId}
          targets={targets}
          neighbours={rows.map((provider) => provider.id)}
          onClose={() => setOpenId(null)}
        />
      )}
      <CreateProvider opened={isCreating} onClose={() => setCreating(false)} />
    </>
  );
}
