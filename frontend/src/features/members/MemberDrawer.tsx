/** One member: who they are here; another role; the way out. */
import { Button, Group, Select, Stack } from "@mantine/core";
import { useState } from "react";
import { $api, client, etagOf, type Schemas } from "@/api/client";
import { useMay, useSession } from "@/lib/session";
import { ConfirmByTyping } from "@/ui/ConfirmByTyping";
import { DetailDrawer } from "@/ui/DetailDrawer";
import { Facts } from "@/ui/Facts";
import { Moment } from "@/ui/Moment";
import { say } from "@/ui/say";
import { Failed, Loading } from "@/ui/states";
import { useMembersChanged, useRoleNames } from "./queries";

type Member = Schemas["UserView"];

export function MemberDrawer({ id, neighbours, onClose }: { id: string; neighbours: string[]; onClose: () => void }) {
  const member = $api.useQuery("get", "/api/v1/users/{user_id}", { params: { path: { user_id: id } } });
  const content = member.error ? (
    <Failed error={member.error} onRetry={() => void member.refetch()} />
  ) : member.data ? (
    <Overview of={member.data} onGone={onClose} />
  ) : (
    <Loading />
  );
  return (
    <DetailDrawer
      id={id}
      idLabel="user id"
      title={member.data?.name ?? "Member"}
      tabs={[{ value: "overview", label: "Overview", content }]}
      call={{ method: "GET", path: `/api/v1/users/${id}` }}
      neighbours={neighbours}
      onClose={onClose}
      size="lg"
    />
  );
}

function Overview({ of: member, onGone }: { of: Member; onGone: () => void }) {
  const may = useMay();
  const { user } = useSession();
  const changed = useMembersChanged();
  const [isRemoving, setRemoving] = useState(false);
  const [role, setRole] = useState<string | null>(null);
  const isOneself = member.id === user.id;
  const roles = useRoleNames(may("users:update") && !isOneself);
  const update = $api.useMutation("patch", "/api/v1/users/{user_id}", {
    onSuccess: () => {
      setRole(null);
      say(`${member.name} has another role now; it holds at their next call.`);
      return changed();
    },
  });
  return (
    <Stack>
      <Facts
        facts={[
          ["Address", member.email],
          ["Role", member.role],
          ["Kind", member.is_guest ? "guest from another organisation" : member.kind],
          ["State", member.is_active ? "active" : "inactive"],
          ["Teams", member.teams.map((team) => team.name).join(", ")],
          ["Last sign-in", member.last_login_at ? <Moment key="seen" at={member.last_login_at} /> : "never"],
          ["Since", <Moment key="since" at={member.created_at} />],
        ]}
      />
      {may("users:update") && !isOneself && (
        <Group align="flex-end">
          <Select
            label="Role"
            searchable
            allowDeselect={false}
            data={roles}
            value={role ?? member.role}
            onChange={setRole}
          />
          <Button
            disabled={role === null || role === member.role}
            loading={update.isPending}
            onClick={() =>
              role !== null &&
              update.mutate({
                params: { path: { user_id: member.id }, header: { "if-match": etagOf(member) } },
                body: { role },
              })
            }
          >
            Save the role
          </Button>
        </Group>
      )}
      {update.error && <Failed error={update.error} />}
      {may("users:delete") && !isOneself && (
        <Group>
          <Button color="red" variant="outline" onClick={() => setRemoving(true)}>
            Remove …
          </Button>
        </Group>
      )}
      <ConfirmByTyping
        opened={isRemoving}
        onClose={() => setRemoving(false)}
        title={`Remove ${member.name}`}
        word={member.email ?? member.name}
        action="Remove from here"
        onConfirm={async () => {
          await client.DELETE("/api/v1/users/{user_id}", { params: { path: { user_id: member.id } } });
          await changed();
          onGone();
          say(`${member.name} is no member any more.`);
        }}
      >
        Their sessions and keys here end at once. What they did stays in the audit trail.
      </ConfirmByTyping>
    </Stack>
  );
}
