/** One project: what it says, its rules; and making one. */
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
import { formOf, type Project, projectBody, projectChanges } from "./levelForm";

export function ProjectDrawer({ id, neighbours, onClose }: { id: string; neighbours: string[]; onClose: () => void }) {
  const project = $api.useQuery("get", "/api/v1/projects/{project_id}", { params: { path: { project_id: id } } });
  const may = useMay();
  const overview = project.error ? (
    <Failed error={project.error} onRetry={() => void project.refetch()} />
  ) : project.data ? (
    <Overview of={project.data} onGone={onClose} />
  ) : (
    <Loading />
  );
  const tabs = [{ value: "overview", label: "Overview", content: overview }];
  if (project.data && may("projects:update")) {
    tabs.push({ value: "edit", label: "Edit", content: <Edit key={project.data.version} of={project.data} /> });
  }
  return (
    <DetailDrawer
      id={id}
      idLabel="project id"
      title={project.data?.name ?? "Project"}
      badge={project.data && <LevelStatus of={project.data} />}
      tabs={tabs}
      call={{ method: "GET", path: `/api/v1/projects/${id}` }}
      neighbours={neighbours}
      onClose={onClose}
    />
  );
}

function Overview({ of: project, onGone }: { of: Project; onGone: () => void }) {
  const may = useMay();
  const changed = usePeopleChanged();
  const [isDeleting, setDeleting] = useState(false);
  return (
    <Stack>
      <LevelFacts of={project} />
      <RulesOn kind="project" id={project.id} />
      {may("projects:delete") && (
        <Group>
          <Button color="red" variant="outline" onClick={() => setDeleting(true)}>
            Delete …
          </Button>
        </Group>
      )}
      <ConfirmByTyping
        opened={isDeleting}
        onClose={() => setDeleting(false)}
        title="Delete this project"
        word={project.name}
        action="Delete this project"
        onConfirm={async () => {
          await client.DELETE("/api/v1/projects/{project_id}", {
            params: { path: { project_id: project.id }, header: { "if-match": etagOf(project) } },
          });
          await changed();
          say(`The project “${project.name}” is gone.`);
          onGone();
        }}
      >
        It must have no keys any more. Its usage stays.
      </ConfirmByTyping>
    </Stack>
  );
}

function Edit({ of: project }: { of: Project }) {
  const changed = usePeopleChanged();
  const update = $api.useMutation("patch", "/api/v1/projects/{project_id}", {
    onSuccess: () => {
      say("The project is changed; workers follow within a second.");
      return changed();
    },
  });
  return (
    <LevelEditor
      initial={formOf(project)}
      inTeam
      withBounds
      action="Save"
      error={update.error}
      isPending={update.isPending}
      onSave={(form) =>
        update.mutate({
          params: { path: { project_id: project.id }, header: { "if-match": etagOf(project) } },
          body: projectChanges(form, project),
        })
      }
    />
  );
}

export function CreateProject({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const changed = usePeopleChanged();
  const tenant = useTenantFilter();
  const create = $api.useMutation("post", "/api/v1/projects", {
    onSuccess: async (project) => {
      await changed();
      say(`The project “${project.name}” is there.`);
      close();
    },
  });
  const close = () => {
    create.reset();
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title="Create a project" size="lg">
      <LevelEditor
        isNew
        inTeam
        withBounds
        action="Create"
        error={create.error}
        isPending={create.isPending}
        onSave={(form) => create.mutate({ body: { ...projectBody(form), ...(tenant && { tenant_id: tenant }) } })}
      />
    </Modal>
  );
}
