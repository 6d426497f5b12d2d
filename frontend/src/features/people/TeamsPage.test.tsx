import { screen, waitFor } from "@testing-library/react";
import { beforeEach, expect, test } from "vitest";
import { bootstrap, renderConsole, TENANT } from "@/test/render";
import { answer, refusal } from "@/test/server";
import { formOf, type Project, projectChanges, type Team, teamChanges } from "./levelForm";

const TEAM = `team_${"5".repeat(32)}`;
const PROJECT = `prj_${"6".repeat(32)}`;
const LONG = "A team of quite a name ".repeat(9).slice(0, 200).trim();
const EMPTY = { data: [], next_cursor: null };
const MAY = { permissions: [...bootstrap().permissions, "teams:maintain" as const, "projects:update" as const] };

const team: Team = {
  id: TEAM,
  tenant_id: TENANT,
  name: "Finders",
  description: "",
  is_active: true,
  allowed_models: ["gpt-*"],
  allowed_providers: null,
  logging_policy: null,
  tags: {},
  flags: {},
  created_at: "2026-05-01T10:00:00Z",
  updated_at: "2026-05-01T10:00:00Z",
  version: 2,
};
const project: Project = { ...team, id: PROJECT, name: "Checkout", team_id: TEAM };

beforeEach(() => {
  answer("get", "/api/v1/teams", {
    data: [team, { ...team, id: `team_${"4".repeat(32)}`, name: LONG }],
    next_cursor: null,
  });
  answer("get", "/api/v1/teams/{team_id}", team);
  answer("get", "/api/v1/projects", { data: [project], next_cursor: null });
  answer("get", "/api/v1/limits", EMPTY);
  answer("get", "/api/v1/budgets", EMPTY);
});

test("only what was changed is sent, and null takes a bound back", () => {
  const form = formOf(team);
  expect(teamChanges(form, team)).toEqual({});
  expect(teamChanges({ ...form, models: [], logging: "none" }, team)).toEqual({
    allowed_models: null,
    logging_policy: "none",
  });
  expect(teamChanges({ ...form, team_id: TEAM }, team)).toEqual({});
  expect(projectChanges({ ...formOf(project), team_id: null }, project)).toEqual({ team_id: null });
});

test("teams are listed with long names whole, projects with their team", async () => {
  const { user, router } = renderConsole("/teams", MAY);
  expect(await screen.findByText(LONG)).toBeVisible();
  await user.click(screen.getByRole("radio", { name: "Projects" }));
  expect(await screen.findByText("Checkout")).toBeVisible();
  expect(await screen.findByRole("cell", { name: "Finders" })).toBeVisible();
  expect(router.state.location.search).toEqual({ of: "projects" });
});

test("a state in the address is asked of the server, and an empty answer can be widened", async () => {
  const asked = answer("get", "/api/v1/teams", EMPTY);
  const { user } = renderConsole("/teams?state=off", MAY);
  await user.click(await screen.findByRole("button", { name: "Clear the filters" }));
  expect(asked.some(({ url }) => url.searchParams.get("is_active") === "false")).toBe(true);
  expect(await screen.findByText("There is no team yet.")).toBeVisible();
});

test("a failure is told with its request id", async () => {
  answer("get", "/api/v1/teams", refusal(503, "dependency_unavailable", "The database does not answer."));
  renderConsole("/teams", MAY);
  expect(await screen.findByRole("alert")).toHaveTextContent(`req_${"0".repeat(32)}`);
});

test("a change holds for the version that was looked at", async () => {
  const patches = answer("patch", "/api/v1/teams/{team_id}", { ...team, version: 3 });
  const { user } = renderConsole(`/teams?open=${TEAM}&tab=edit`, MAY);
  const name = await screen.findByRole("textbox", { name: "Name" });
  await user.clear(name);
  await user.type(name, "Find");
  await user.click(screen.getByRole("button", { name: "Save" }));
  await waitFor(() => expect(patches[0]?.body).toEqual({ name: "Find" }));
  expect(patches[0]?.request.headers.get("if-match")).toBe('"2"');
});

test("who may only look sees who is in a team and is offered nothing else", async () => {
  answer("get", "/api/v1/teams/{team_id}/members", {
    data: [
      {
        user_id: `usr_${"2".repeat(32)}`,
        name: "Ann",
        email: "ann@example.com",
        role: "maintainer",
        source: "manual",
        created_at: "2026-05-01T10:00:00Z",
      },
    ],
    next_cursor: null,
  });
  renderConsole(`/teams?open=${TEAM}&tab=people`, { permissions: ["me:view", "teams:view"] });
  expect(await screen.findByText("ann@example.com")).toBeVisible();
  expect(screen.queryByRole("tab", { name: "Edit" })).not.toBeInTheDocument();
  expect(screen.queryByRole("button", { name: /Take|Put|Create|Delete/ })).not.toBeInTheDocument();
});
