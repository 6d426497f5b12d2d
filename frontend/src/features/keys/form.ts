/** What the form of a key holds, and the bodies made of it. Empty means: no bound of the key's own. */
import { z } from "zod/mini";
import type { Schemas } from "@/api/client";
import type { Key } from "./queries";

export const keyForm = z.object({
  name: z
    .string()
    .check(z.trim(), z.minLength(1, "A name tells keys apart."), z.maxLength(200, "At most 200 characters.")),
  environment: z.enum(["live", "test"]),
  scopes: z.array(z.enum(["inference", "admin"])).check(z.minLength(1, "A key without a scope may do nothing.")),
  project_id: z.nullable(z.string()),
  expires_at: z.nullable(z.string()),
  rate: z.union([z.literal(""), z.number().check(z.int(), z.minimum(1, "At least one a minute."))]),
  models: z.array(z.string()),
  endpoints: z.array(z.string()),
  addresses: z.array(z.string()),
});
export type KeyForm = z.infer<typeof keyForm>;

export const NEW_KEY: KeyForm = {
  name: "",
  environment: "live",
  scopes: ["inference"],
  project_id: null,
  expires_at: null,
  rate: "",
  models: [],
  endpoints: [],
  addresses: [],
};

export function formOf(key: Key): KeyForm {
  return {
    name: key.name,
    environment: key.environment === "test" ? "test" : "live",
    scopes: key.scopes.slice(),
    project_id: key.project_id,
    expires_at: key.expires_at,
    rate: key.rate_limit_override ?? "",
    models: key.allowed_models_override ?? [],
    endpoints: key.allowed_endpoints ?? [],
    addresses: key.allowed_addresses ?? [],
  };
}

function bounds(form: KeyForm) {
  const listed = (values: string[]) => (values.length > 0 ? values : null);
  return {
    expires_at: form.expires_at,
    rate_limit_override: form.rate === "" ? null : form.rate,
    allowed_models_override: listed(form.models),
    allowed_endpoints: listed(form.endpoints),
    allowed_addresses: listed(form.addresses),
  };
}

export function createBody(form: KeyForm): Schemas["KeyCreate"] {
  const { name, environment, scopes, project_id } = form;
  return { name: name.trim(), environment, scopes, project_id, ...bounds(form) };
}

/** Only what differs, so that two people's changes of different things both hold. */
export function updateBody(form: KeyForm, key: Key): Schemas["KeyUpdate"] {
  const before: Record<string, unknown> = { ...formPart(formOf(key)) };
  return Object.fromEntries(
    Object.entries(formPart(form)).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])),
  );
}

function formPart(form: KeyForm): Schemas["KeyUpdate"] {
  return { name: form.name.trim(), scopes: form.scopes, project_id: form.project_id, ...bounds(form) };
}
