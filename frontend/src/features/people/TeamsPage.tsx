/** The levels between a tenant and its keys: teams, and the projects in them. */
import { Button, SegmentedControl, Select } from "@mantine/core";
import { Plus } from "lucide-react";
import { type ReactNode, useMemo, useState } from "react";
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
import { TenantFilter, useTenantFilter } from "@/ui/TenantFilter";
import { LevelStatus } from "./LevelFacts";
import type { Project, Team } from "./levelForm";
import { CreateProject, ProjectDrawer } from "./ProjectDrawer";
import { CreateTeam, TeamDrawer } from "./TeamDrawer";
import { useTeamChoices } from "./teams";

const ACTIVE = { active: true, off: false } as const;

function columnsOf<Level extends Team | Project>(further: Column<Level>[]): Column<Level>[] {
  return [
    { id: "name", header: "Name", cell: (level) => <strong>{level.name}</strong>, isFixed: true },
    ...further,
    { id: "state", header: "State", cell: (level) => <LevelStatus of={level} /> },
    { id: "models", header: "Models", cell: (level) => level.allowed_models?.join(", ") ?? "as above" },
    {
      id: "providers",
      header: "Providers",
      cell: (level) => level.allowed_providers?.join(", ") ?? "as above",
      isOptional: true,
    },
    { id: "logging", header: "Kept of calls", cell: (level) => level.logging_policy ?? "as above" },
    { id: "since", header: "Since", cell: (level) => <Moment at={level.created_at} relative /> },
    { id: "id", header: "Id", cell: (level) => <CopyableId value={level.id} />, isOptional: true },
  ];
}

const TEAM_COLUMNS = columnsOf<Team>([]);

export default function TeamsPage() {
  const [url, setUrl] = useUrlState();
  const may = useMay();
  const [isCreating, setCreating] = useState(false);
  const isProjects = url.get("of") === "projects" ? may("projects:view") : !may("teams:view");
  const noun = isProjects ? "project" : "team";
  const create = may(`${noun}s:create`) ? (
    <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setCreating(true)}>
      Create a {noun}
    </Button>
  ) : null;
  return (
    <>
      <PageHeader title="Teams and projects" actions={create}>
        Each narrows what the tenant allows for the keys in it, and is counted by itself.
      </PageHeader>
      {may("teams:view") && may("projects:view") && (
        <SegmentedControl
          mb="md"
          aria-label="What is listed"
          data={[
            { value: "teams", label: "Teams" },
            { value: "projects", label: "Projects" },
          ]}
          value={isProjects ? "projects" : "teams"}
          onChange={(of) => setUrl({ of: of === "teams" ? null : of, open: null, tab: null, team: null })}
        />
      )}
      {isProjects ? <Projects create={create} /> : <Teams create={create} />}
      {isProjects ? (
        <CreateProject opened={isCreating} onClose={() => setCreating(false)} />
      ) : (
        <CreateTeam opened={isCreating} onClose={() => setCreating(false)} />
      )}
    </>
  );
}

function useIsActive(): boolean | undefined {
  const [url] = useUrlState();
  return ACTIVE[url.get("state") as keyof typeof ACTIVE];
}

function StateFilter() {
  const [url, setUrl] = useUrlState();
  return (
    <Select
      label="State"
      size="xs"
      placeholder="All"
      clearable
      data={Object.keys(ACTIVE)}
      value={url.get("state") ?? null}
      onChange={(state) => setUrl({ state })}
    />
  );
}

function NoneFits({ noun }: { noun: string }) {
  const [, setUrl] = useUrlState();
  return (
    <Empty title={`No ${noun} fits these filters.`}>
      <Button variant="default" size="xs" onClick={() => setUrl({ state: null, team: null })}>
        Clear the filters
      </Button>
    </Empty>
  );
}

function Teams({ create }: { create: ReactNode }) {
  const [openId, setOpenId] = useOpenRow();
  const query = { is_active: useIsActive(), tenant_id: useTenantFilter() };
  const list = $api.useInfiniteQuery("get", "/api/v1/teams", { params: { query } }, KEYSET);
  const rows = useRows<Team>(list.data);
  return (
    <>
      <DataTable
        label="Teams"
        columns={TEAM_COLUMNS}
        rows={rows}
        rowId={(team) => team.id}
        rowLabel={(team) => `Team ${team.name}`}
        query={list}
        openId={openId}
        onOpen={setOpenId}
        toolbar={
          <>
            <TenantFilter />
            <StateFilter />
          </>
        }
        empty={
          query.is_active !== undefined ? (
            <NoneFits noun="team" />
          ) : (
            <Empty
              title="There is no team yet."
              call={{ method: "POST", path: "/api/v1/teams", body: { name: "Search" } }}
              action={create}
            >
              Teams share models, budgets and limits; their people make keys in them.
            </Empty>
          )
        }
      />
      {openId !== undefined && (
        <TeamDrawer id={openId} neighbours={rows.map((team) => team.id)} onClose={() => setOpenId(null)} />
      )}
    </>
  );
}

function Projects({ create }: { create: ReactNode }) {
  const [url, setUrl] = useUrlState();
  const [openId, setOpenId] = useOpenRow();
  const teams = useTeamChoices();
  const query = { is_active: useIsActive(), team_id: url.get("team"), tenant_id: useTenantFilter() };
  const list = $api.useInfiniteQuery("get", "/api/v1/projects", { params: { query } }, KEYSET);
  const rows = useRows<Project>(list.data);
  const columns = useMemo(
    () =>
      columnsOf<Project>([
        {
          id: "team",
          header: "Team",
          cell: ({ team_id }) => teams.find(({ value }) => value === team_id)?.label ?? team_id ?? "none",
        },
      ]),
    [teams],
  );
  return (
    <>
      <DataTable
        label="Projects"
        columns={columns}
        rows={rows}
        rowId={(project) => project.id}
        rowLabel={(project) => `Project ${project.name}`}
        query={list}
        openId={openId}
        onOpen={setOpenId}
        toolbar={
          <>
            <TenantFilter />
            <StateFilter />
            {teams.length > 0 && (
              <Select
                label="Team"
                size="xs"
                placeholder="All"
                clearable
                searchable
                data={teams}
                value={query.team_id ?? null}
                onChange={(team) => setUrl({ team })}
              />
            )}
          </>
        }
        empty={
          query.is_active !== undefined || query.team_id !== undefined ? (
            <NoneFits noun="project" />
          ) : (
            <Empty
              title="There is no project yet."
              call={{ method: "POST", path: "/api/v1/projects", body: { name: "Checkout" } }}
              action={create}
            >
              A project holds the keys of one application, with bounds and costs of its own.
            </Empty>
          )
        }
      />
      {openId !== undefined && (
        <ProjectDrawer id={openId} neighbours={rows.map((project) => project.id)} onClose={() => setOpenId(null)} />
      )}
    </>
  );
}
