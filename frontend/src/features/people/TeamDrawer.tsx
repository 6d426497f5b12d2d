/** One team: what it says, who is in it, its rules; and making one. */
import { Button, Group, Modal, Stack } from "@mantine/core";
import { useState } from "react";
import { $api, client, etagOf } from "@/api/client";
import { useMay } from "@/lib/session";
import { ConfirmByTyping } from "@/ui/ConfirmByTyping";
import { DetailDrawer } from "@/ui/DetailDrawer";
import { say } from "@/ui/say";
import { Failed, Loading } from "@/ui/states";
import { useTenantFilter } from "@/ui/TenantFilter";
import { usePeopleChanged } from "./changes";
import { LevelEditor } from "./LevelEditor";
import { LevelFacts, LevelStatus, RulesOn } from "./LevelFacts";
import { formOf, type Team, teamBody, teamChanges } from "./levelForm";
import { TeamPeople } from "./TeamPeople";

export function TeamDrawer({ id, neighbours, onClose }: { id: string; neighbours: string[]; onClose: () => void }) {
  const team = $api.useQuery("get", "/api/v1/teams/{team_id}", { params: { path: { team_id: id } } });
  const may = useMay();
  const overview = team.error ? (
    <Failed error={team.error} onRetry={() => void team.refetch()} />
  ) : team.data ? (
    <Overview of={team.data} onGone={onClose} />
  ) : (
    <Loading />
  );
  const tabs = [{ value: "overview", label: "Overview", content: overview }];
  if (team.data) tabs.push({ value: "people", label: "People", content: <TeamPeople of={team.data} /> });
  if (team.data && (may("teams:maintain") || may("teams:update"))) {
    tabs.push({ value: "edit", label: "Edit", content: <Edit key={team.data.version} of={team.data} /> });
  }
  return (
    <DetailDrawer
      id={id}
      idLabel="team id"
      title={team.data?.name ?? "Team"}
      badge={team.data && <LevelStatus of={team.data} />}
      tabs={tabs}
      call={{ method: "GET", path: `/api/v1/teams/${id}` }}
      neighbours={neighbours}
      onClose={onClose}
    />
  );
}

function Overview({ of: team, onGone }: { of: Team; onGone: () => void }) {
  const may = useMay();
  const changed = usePeopleChanged();
  const [isDeleting, setDeleting] = useState(false);
  return (
    <Stack>
      <LevelFacts of={team} />
      <RulesOn kind="team" id={team.id} />
      {may("teams:delete") && (
        <Group>
          <Button color="red" variant="outline" onClick={() => setDeleting(true)}>
            Delete …
          </Button>
        </Group>
      )}
      <ConfirmByTyping
        opened={isDeleting}
        onClose={() => setDeleting(false)}
        title="Delete this team"
        word={team.name}
        action="Delete this team"
        onConfirm={async () => {
          await client.DELETE("/api/v1/teams/{team_id}", {
            params: { path: { team_id: team.id }, header: { "if-match": etagOf(team) } },
          });
          await changed();
          say(`The team “${team.name}” is gone.`);
          onGone();
        }}
      >
        It must have no projects and no keys any more. Its people stay in the tenant, and its usage stays as well.
      </ConfirmByTyping>
    </Stack>
  );
}

function Edit({ of: team }: { of: Team }) {
  const may = useMay();
  const changed = usePeopleChanged();
  const update = $api.useMutation("patch", "/api/v1/teams/{team_id}", {
    onSuccess: () => {
      say("The team is changed; workers follow within a second.");
      return changed();
    },
  });
  return (
    <LevelEditor
      initial={formOf(team)}
      withBounds={may("teams:update")}
      action="Save"
      error={update.error}
      isPending={update.isPending}
      onSave={(form) =>
        update.mutate({
          params: { path: { team_id: team.id }, header: { "if-match": etagOf(team) } },
          body: teamChanges(form, team),
        })
      }
    />
  );
}

export function CreateTeam({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const changed = usePeopleChanged();
  const tenant = useTenantFilter();
  const create = $api.useMutation("post", "/api/v1/teams", {
    onSuccess: async (team) => {
      await changed();
      say(`The team “${team.name}” is there; nobody is in it yet.`);
      close();
    },
  });
  const close = () => {
    create.reset();
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title="Create a team" size="lg">
      <LevelEditor
        isNew
        withBounds
        action="Create"
        error={create.error}
        isPending={create.isPending}
        onSave={(form) => create.mutate({ body: { ...teamBody(form), ...(tenant && { tenant_id: tenant }) } })}
      />
    </Modal>
  );
}
