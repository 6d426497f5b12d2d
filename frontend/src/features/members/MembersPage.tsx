/** Who works here, as what; inviting, another role, removing. */
import { Button, Select, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { UserPlus } from "lucide-react";
import { useState } from "react";
import { $api, type Schemas } from "@/api/client";
import { NONE } from "@/lib/format";
import { KEYSET, useRows } from "@/lib/paging";
import { useMay } from "@/lib/session";
import { useUrlState } from "@/lib/urlState";
import { type Column, DataTable } from "@/ui/DataTable";
import { useOpenRow } from "@/ui/DetailDrawer";
import { Moment } from "@/ui/Moment";
import { PageHeader } from "@/ui/PageHeader";
import { StatusBadge } from "@/ui/StatusBadge";
import { Empty } from "@/ui/states";
import { Invite } from "./Invite";
import { MemberDrawer } from "./MemberDrawer";

export type Member = Schemas["UserView"];

const KINDS = ["person", "service"] as const;
const TYPING_MS = 350;

const COLUMNS: Column<Member>[] = [
  { id: "name", header: "Name", cell: (member) => <strong>{member.name}</strong>, isFixed: true },
  { id: "email", header: "Address", cell: (member) => member.email ?? NONE },
  { id: "role", header: "Role", cell: (member) => member.role },
  { id: "kind", header: "Kind", cell: (member) => (member.is_guest ? "guest" : member.kind) },
  {
    id: "state",
    header: "State",
    cell: (member) => (
      <StatusBadge tone={member.is_active ? "good" : "calm"}>{member.is_active ? "active" : "inactive"}</StatusBadge>
    ),
  },
  { id: "teams", header: "Teams", cell: (member) => member.teams.map((team) => team.name).join(", ") || NONE },
  {
    id: "seen",
    header: "Last sign-in",
    cell: (member) => (member.last_login_at ? <Moment at={member.last_login_at} relative /> : "never"),
  },
  { id: "since", header: "Since", cell: (member) => <Moment at={member.created_at} relative />, isOptional: true },
  { id: "id", header: "Id", cell: (member) => <code>{member.id}</code>, isOptional: true },
];

export default function MembersPage() {
  const [url, setUrl] = useUrlState();
  const [openId, setOpenId] = useOpenRow();
  const may = useMay();
  const [isInviting, setInviting] = useState(false);
  const type = useDebouncedCallback((q: string) => setUrl({ q }, { replace: true }), TYPING_MS);
  const query = { q: url.get("q"), kind: KINDS.find((kind) => kind === url.get("kind")) };
  const list = $api.useInfiniteQuery("get", "/api/v1/users", { params: { query } }, KEYSET);
  const rows = useRows<Member>(list.data);
  return (
    <>
      <PageHeader
        title="Members"
        actions={
          may("users:create") && (
            <Button leftSection={<UserPlus size={16} aria-hidden />} onClick={() => setInviting(true)}>
              Invite
            </Button>
          )
        }
      >
        People and service accounts of this organisation, and guests from others.
      </PageHeader>
      <DataTable
        label="Members"
        columns={COLUMNS}
        rows={rows}
        rowId={(member) => member.id}
        rowLabel={(member) => `${member.name}, ${member.role}`}
        query={list}
        openId={openId}
        onOpen={setOpenId}
        toolbar={
          <>
            <TextInput
              label="Name or address"
              size="xs"
              maxLength={200}
              defaultValue={query.q ?? ""}
              onChange={(event) => type(event.currentTarget.value.trim())}
            />
            <Select
              label="Kind"
              size="xs"
              placeholder="All"
              clearable
              data={[...KINDS]}
              value={query.kind ?? null}
              onChange={(kind) => setUrl({ kind })}
            />
          </>
        }
        empty={
          <Empty
            title="Nobody fits."
            call={{
              method: "POST",
              path: "/api/v1/invitations",
              body: { email: "ann@example.com", role: "developer" },
            }}
          >
            An invitation is mailed, or its link is shown where no mail server is set up.
          </Empty>
        }
      />
      {openId !== undefined && (
        <MemberDrawer id={openId} neighbours={rows.map((member) => member.id)} onClose={() => setOpenId(null)} />
      )}
      <Invite opened={isInviting} onClose={() => setInviting(false)} />
    </>
  );
}
