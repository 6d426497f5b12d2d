/** Every key the reader may see: make, look into, rotate, revoke. */
import { Button, Select } from "@mantine/core";
import { Plus } from "lucide-react";
import { useState } from "react";
import { $api } from "@/api/client";
import { KEYSET, useRows } from "@/lib/paging";
import { useMay } from "@/lib/session";
import { useUrlState } from "@/lib/urlState";
import { CopyableId } from "@/ui/Copy";
import { type Column, DataTable } from "@/ui/DataTable";
import { useOpenRow } from "@/ui/DetailDrawer";
import { Moment } from "@/ui/Moment";
import { PageHeader } from "@/ui/PageHeader";
import { Empty } from "@/ui/states";
import { CreateKey } from "./CreateKey";
import { KeyDrawer } from "./KeyDrawer";
import { KeyStatus } from "./KeyStatus";
import { type Key, keyHint, useProjects } from "./queries";

const STATUSES = ["active", "revoked", "expired"] as const;
const ENVIRONMENTS = ["live", "test"] as const;

const COLUMNS: Column<Key>[] = [
  { id: "name", header: "Name", cell: (key) => <strong>{key.name}</strong>, isFixed: true },
  { id: "key", header: "Key", cell: (key) => <code>{keyHint(key)}</code> },
  { id: "status", header: "Status", cell: (key) => <KeyStatus of={key} /> },
  { id: "environment", header: "Environment", cell: (key) => key.environment },
  { id: "scopes", header: "Scopes", cell: (key) => key.scopes.join(", ") },
  {
    id: "models",
    header: "Models",
    cell: (key) => key.allowed_models_override?.join(", ") ?? "as its tenant",
    isOptional: true,
  },
  {
    id: "rate",
    header: "Requests a minute",
    cell: (key) => key.rate_limit_override ?? "as its tenant",
    align: "right",
    isOptional: true,
  },
  {
    id: "used",
    header: "Last used",
    cell: (key) => (key.last_used_at ? <Moment at={key.last_used_at} relative /> : "never"),
  },
  {
    id: "expires",
    header: "Expires",
    cell: (key) => (key.expires_at ? <Moment at={key.expires_at} relative /> : "never"),
  },
  { id: "created", header: "Created", cell: (key) => <Moment at={key.created_at} relative />, isOptional: true },
  { id: "id", header: "Id", cell: (key) => <CopyableId value={key.id} what="key id" />, isOptional: true },
];

function oneOf<Word extends string>(words: readonly Word[], text: string | undefined): Word | undefined {
  return words.find((word) => word === text);
}

export default function KeysPage() {
  const [url, setUrl] = useUrlState();
  const [openId, setOpenId] = useOpenRow();
  const may = useMay();
  const [isCreating, setCreating] = useState(false);
  const projects = useProjects();
  const query = {
    status: oneOf(STATUSES, url.get("status")),
    environment: oneOf(ENVIRONMENTS, url.get("environment")),
    project_id: url.get("project"),
  };
  const list = $api.useInfiniteQuery("get", "/api/v1/keys", { params: { query } }, KEYSET);
  const rows = useRows<Key>(list.data);
  const isFiltered = Object.values(query).some((value) => value !== undefined);
  const create = may("api_keys:create") ? (
    <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setCreating(true)}>
      Create a key
    </Button>
  ) : null;

  return (
    <>
      <PageHeader title="Keys" actions={create}>
        What applications call the gateway with. A secret is shown once, when it is made.
      </PageHeader>
      <DataTable
        label="Keys"
        columns={COLUMNS}
        rows={rows}
        rowId={(key) => key.id}
        rowLabel={(key) => `Key ${key.name}`}
        query={list}
        openId={openId}
        onOpen={setOpenId}
        toolbar={
          <>
            <Select
              label="Status"
              size="xs"
              placeholder="All"
              clearable
              data={[...STATUSES]}
              value={query.status ?? null}
              onChange={(status) => setUrl({ status })}
            />
            <Select
              label="Environment"
              size="xs"
              placeholder="All"
              clearable
              data={[...ENVIRONMENTS]}
              value={query.environment ?? null}
              onChange={(environment) => setUrl({ environment })}
            />
            {(projects.data?.data.length ?? 0) > 0 && (
              <Select
                label="Project"
                size="xs"
                placeholder="All"
                clearable
                searchable
                data={projects.data?.data.map((project) => ({ value: project.id, label: project.name })) ?? []}
                value={query.project_id ?? null}
                onChange={(project) => setUrl({ project })}
              />
            )}
          </>
        }
        empty={
          isFiltered ? (
            <Empty title="No key fits these filters.">
              <Button
                variant="default"
                size="xs"
                onClick={() => setUrl({ status: null, environment: null, project: null })}
              >
                Clear the filters
              </Button>
            </Empty>
          ) : (
            <Empty
              title="There is no key yet."
              call={{ method: "POST", path: "/api/v1/keys", body: { name: "my application" } }}
              action={create}
            >
              An application needs one to call the gateway.
            </Empty>
          )
        }
      />
      {openId !== undefined && (
        <KeyDrawer id={openId} neighbours={rows.map((key) => key.id)} onClose={() => setOpenId(null)} />
      )}
      <CreateKey opened={isCreating} onClose={() => setCreating(false)} />
    </>
  );
}
