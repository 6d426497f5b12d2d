/** Every name callers may use, where it leads, and what it costs. */
import { Button, Switch } from "@mantine/core";
import { Plus } from "lucide-react";
import { useState } from "react";
import { $api, type Schemas } from "@/api/client";
import { formatCount, formatUsd, NONE } from "@/lib/format";
import { KEYSET, useRows } from "@/lib/paging";
import { useMay } from "@/lib/session";
import { useUrlState } from "@/lib/urlState";
import { type Column, DataTable } from "@/ui/DataTable";
import { useOpenRow } from "@/ui/DetailDrawer";
import { PageHeader } from "@/ui/PageHeader";
import { StatusBadge } from "@/ui/StatusBadge";
import { Empty } from "@/ui/states";
import { CreateModel, ModelDrawer } from "./ModelDrawer";
import { leadsTo } from "./models";

type Model = Schemas["ModelOut"];

function Price({ of: model }: { of: Model }) {
  if (model.price === null) {
    if (model.is_simulated) return <>free</>;
    return <StatusBadge tone={model.unpriced === "block" ? "bad" : "warn"}>without a price</StatusBadge>;
  }
  return (
    <>
      {formatUsd(model.price.input_per_million)} / {formatUsd(model.price.output_per_million)}
    </>
  );
}

const COLUMNS: Column<Model>[] = [
  { id: "name", header: "Name", cell: (model) => <strong>{model.name}</strong>, isFixed: true },
  { id: "to", header: "Leads to", cell: leadsTo },
  {
    id: "price",
    header: "Price of a million tokens in / out",
    cell: (model) => <Price of={model} />,
    align: "right",
  },
  { id: "context", header: "Reads", cell: (model) => formatCount(model.context_tokens), align: "right" },
  { id: "output", header: "Writes", cell: (model) => formatCount(model.max_output_tokens), align: "right" },
  {
    id: "state",
    header: "State",
    cell: (model) =>
      model.is_active ? (
        <StatusBadge tone="good">in use</StatusBadge>
      ) : (
        <StatusBadge tone="calm">switched off</StatusBadge>
      ),
  },
  { id: "seen", header: "Seen by", cell: (model) => model.tenant_id ?? "everyone", isOptional: true },
  { id: "managed", header: "Managed by", cell: (model) => model.managed_by, isOptional: true },
  { id: "owner", header: "Owned by", cell: (model) => model.owned_by || NONE, isOptional: true },
];

export default function ModelsPage() {
  const [url, setUrl] = useUrlState();
  const [openId, setOpenId] = useOpenRow();
  const may = useMay();
  const [isCreating, setCreating] = useState(false);
  const list = $api.useInfiniteQuery("get", "/api/v1/catalog/models", { params: { query: { limit: 100 } } }, KEYSET);
  const all = useRows<Model>(list.data);
  const isSimulatedShown = url.get("simulated") === "yes";
  const rows = isSimulatedShown ? all : all.filter((model) => model.managed_by !== "builtin");
  const create = may("catalog:update") ? (
    <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setCreating(true)}>
      Name a model
    </Button>
  ) : null;
  return (
    <>
      <PageHeader title="Models & prices" actions={create}>
        What callers ask for, where it leads, and what it costs. A call is charged at the price of its moment.
      </PageHeader>
      <DataTable
        label="Models"
        columns={COLUMNS}
        rows={rows}
        rowId={(model) => model.id}
        rowLabel={(model) => `Model ${model.name}`}
        query={list}
        openId={openId}
        onOpen={setOpenId}
        toolbar={
          <Switch
            label="Built-in ones too"
            checked={isSimulatedShown}
            onChange={(event) => setUrl({ simulated: event.currentTarget.checked ? "yes" : null })}
          />
        }
        empty={
          <Empty
            title="There is no model of your own yet."
            call={{
              method: "POST",
              path: "/api/v1/catalog/models",
              body: { name: "fast", targets: [{ provider: "openai", model: "gpt-5-mini" }] },
            }}
            action={create}
          >
            The built-in simulated ones answer without any provider.
          </Empty>
        }
      />
      {openId !== undefined && (
        <ModelDrawer id={openId} neighbours={rows.map((model) => model.id)} onClose={() => setOpenId(null)} />
      )}
      <CreateModel opened={isCreating} onClose={() => setCreating(false)} />
    </>
  );
}
