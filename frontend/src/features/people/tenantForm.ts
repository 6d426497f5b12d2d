/** What the form of a tenant holds, and the bodies made of it. Money stays the text that was typed. */
import { z } from "zod/mini";
import type { Schemas } from "@/api/client";
import { differing, listed } from "./changes";

export type Tenant = Schemas["TenantView"];

export const LOGGING = [
  { value: "none", label: "Nothing: no record of a call" },
  { value: "metadata", label: "Metadata: who, what, when, how much" },
  { value: "redacted", label: "Redacted: bodies without what guardrails find" },
  { value: "full", label: "Full: bodies as they were" },
] as const;
export const POLICIES = ["none", "metadata", "redacted", "full"] as const;

const USD = /^\d{1,9}(\.\d{1,9})?$/;

export const tenantForm = z.object({
  name: z
    .string()
    .check(z.trim(), z.minLength(1, "A name tells tenants apart."), z.maxLength(200, "At most 200 characters.")),
  email: z.union([z.literal(""), z.string().check(z.regex(/^\S+@\S+$/, "An address, such as ann@example.com."))]),
  rate: z.union([z.literal(""), z.number().check(z.int(), z.minimum(1, "At least one a minute."))]),
  budget: z.union([z.literal(""), z.string().check(z.trim(), z.regex(USD, "Dollars, such as 25.00."))]),
  models: z.array(z.string()),
  providers: z.array(z.string()),
  logging: z.enum(POLICIES),
  needs_second_factor: z.boolean(),
});
export type TenantForm = z.infer<typeof tenantForm>;

export const NEW_TENANT: TenantForm = {
  name: "",
  email: "",
  rate: "",
  budget: "",
  models: [],
  providers: [],
  logging: "metadata",
  needs_second_factor: false,
};

export function formOf(tenant: Tenant): TenantForm {
  return {
    name: tenant.name,
    email: tenant.email ?? "",
    rate: tenant.rate_limit ?? "",
    budget: tenant.monthly_budget_usd ?? "",
    models: tenant.allowed_models ?? [],
    providers: tenant.allowed_providers ?? [],
    logging: tenant.logging_policy,
    needs_second_factor: tenant.require_second_factor,
  };
}

export function createBody(form: TenantForm): Schemas["TenantCreate"] {
  return {
    name: form.name.trim(),
    email: form.email.trim() || null,
    rate_limit: form.rate === "" ? null : form.rate,
    monthly_budget_usd: form.budget.trim() || null,
    allowed_models: listed(form.models),
    allowed_providers: listed(form.providers),
    logging_policy: form.logging,
    require_second_factor: form.needs_second_factor,
  };
}

export function updateBody(form: TenantForm, tenant: Tenant): Schemas["TenantUpdate"] {
  return differing(createBody(form), createBody(formOf(tenant)));
}
