/** What the form of a team or a project holds, and the bodies made of it. It narrows what the levels above allow. */
import { z } from "zod/mini";
import type { Schemas } from "@/api/client";
import { differing, listed } from "./changes";
import { POLICIES } from "./tenantForm";

export type Team = Schemas["TeamView"];
export type Project = Schemas["ProjectView"];

export const levelForm = z.object({
  name: z
    .string()
    .check(z.trim(), z.minLength(1, "A name tells it from others."), z.maxLength(200, "At most 200 characters.")),
  description: z.string().check(z.maxLength(2000, "At most 2,000 characters.")),
  team_id: z.nullable(z.string()),
  is_active: z.boolean(),
  models: z.array(z.string()),
  providers: z.array(z.string()),
  logging: z.enum(["inherit", ...POLICIES]),
});
export type LevelForm = z.infer<typeof levelForm>;

export const NEW_LEVEL: LevelForm = {
  name: "",
  description: "",
  team_id: null,
  is_active: true,
  models: [],
  providers: [],
  logging: "inherit",
};

export function formOf(level: Team | Project): LevelForm {
  return {
    name: level.name,
    description: level.description,
    team_id: "team_id" in level ? level.team_id : null,
    is_active: level.is_active,
    models: level.allowed_models ?? [],
    providers: level.allowed_providers ?? [],
    logging: level.logging_policy ?? "inherit",
  };
}

export function teamBody(form: LevelForm): Schemas["TeamCreate"] {
  return {
    name: form.name.trim(),
    description: form.description,
    is_active: form.is_active,
    allowed_models: listed(form.models),
    allowed_providers: listed(form.providers),
    logging_policy: form.logging === "inherit" ? null : form.logging,
  };
}

export function projectBody(form: LevelForm): Schemas["ProjectCreate"] {
  return { ...teamBody(form), team_id: form.team_id };
}

export function teamChanges(form: LevelForm, team: Team): Schemas["TeamUpdate"] {
  return differing(teamBody(form), teamBody(formOf(team)));
}

export function projectChanges(form: LevelForm, project: Project): Schemas["ProjectUpdate"] {
  return differing(projectBody(form), projectBody(formOf(project)));
}
