/** Whose calls a rule is about, in words and as a form. */
import { z } from "zod/mini";
import type { Schemas } from "@/api/client";

export type Scope = Schemas["ScopeView"];

export const KINDS = [
  { value: "tenant", label: "Tenant", prefix: "ten_" },
  { value: "team", label: "Team", prefix: "team_" },
  { value: "project", label: "Project", prefix: "prj_" },
  { value: "user", label: "Person", prefix: "usr_" },
  { value: "key", label: "Key", prefix: "key_" },
  { value: "tag", label: "Tag", hint: "name=value, or name=* for each value apart" },
  { value: "end_user", label: "End user", hint: "what callers send as user" },
  { value: "model", label: "Model", hint: "gpt-5-mini, or gpt-* for all that begin so" },
  { value: "endpoint", label: "Endpoint", hint: "chat/completions" },
  { value: "provider", label: "Provider", hint: "openai" },
] as const;
export type Kind = (typeof KINDS)[number]["value"];

export function kindOf(kind: Kind) {
  return KINDS.find((one) => one.value === kind) ?? KINDS[0];
}

export function hasId(kind: Kind): boolean {
  return "prefix" in kindOf(kind);
}

/** Those behind a field of a tenant or a key have no name but that field's. */
export function titleOf(rule: { name: string; origin: string | null }): string {
  return rule.name || (rule.origin ?? "without a name").replaceAll("_", " ");
}

/** `named`: what the ids in it are called. */
export function scopeWords(scope: Scope, named: (id: string) => string): string {
  const { label } = kindOf(scope.kind);
  if (scope.id !== null) return `${label} ${named(scope.id)}`;
  if (scope.value !== null) return `${label} ${scope.value}`;
  return `Each ${label.toLowerCase()} apart`;
}

export const scopeForm = z
  .object({ kind: z.enum(KINDS.map((one) => one.value) as [Kind, ...Kind[]]), subject: z.string() })
  .check(
    z.refine(({ kind, subject }) => kind !== "tag" || /^[^=]+=.+$/.test(subject.trim()), {
      error: "A tag is written name=value; name=* counts each value apart.",
      path: ["subject"],
    }),
  );
export type ScopeForm = z.infer<typeof scopeForm>;

export function scopeBody({ kind, subject }: ScopeForm): Schemas["BudgetCreate"]["scope"] {
  const named = subject.trim();
  if (named === "") return { kind };
  return hasId(kind) ? { kind, id: named } : { kind, value: named };
}

/** The filter of `/usage` that finds the calls of a scope; null where there is none. */
export function usageFilter(scope: Scope): Record<string, string[]> | null {
  const { kind, id, value } = scope;
  const fields = { team: "team_id", project: "project_id", user: "user_id", key: "api_key_id" } as const;
  if (kind === "tenant") return {};
  if (id !== null && kind in fields) return { [fields[kind as keyof typeof fields]]: [id] };
  if (value === null || value.includes("*")) return null;
  if (kind === "model" || kind === "provider" || kind === "end_user") return { [kind]: [value] };
  if (kind === "tag") return { tag: [value.replace("=", ":")] };
  return null;
}
