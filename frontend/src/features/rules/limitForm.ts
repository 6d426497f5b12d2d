/** What the form of a limit holds, and the bodies made of it. */
import { z } from "zod/mini";
import type { Schemas } from "@/api/client";
import { scopeBody, scopeForm } from "./scope";

export type Limit = Schemas["LimitView"];

export const UNITS = [
  { value: "requests", label: "requests" },
  { value: "input_tokens", label: "input tokens" },
  { value: "output_tokens", label: "output tokens" },
  { value: "total_tokens", label: "tokens" },
  { value: "parallel", label: "calls at once" },
] as const;
export const PERIODS = ["second", "minute", "hour", "day"] as const;
const LARGEST = 1_000_000_000_000;
const amount = z.number("A number.").check(z.int("A whole number."), z.minimum(1, "At least 1."), z.maximum(LARGEST));
const blank = z.literal("");

export const limitForm = z
  .object({
    name: z.string().check(z.trim(), z.minLength(1, "A name tells limits apart."), z.maxLength(200)),
    scope: scopeForm,
    unit: z.enum(["requests", "input_tokens", "output_tokens", "total_tokens", "parallel"]),
    amount: z.union([blank, amount]).check(z.refine((value) => value !== "", { error: "How many?" })),
    period: z.enum(PERIODS),
    burst: z.union([blank, amount]),
    models: z.array(z.string()),
    is_per_model: z.boolean(),
    is_shadow: z.boolean(),
    override_amount: z.union([blank, amount]),
    override_until: z.nullable(z.string()),
  })
  .check(
    z.refine(({ override_amount, override_until }) => (override_amount === "") === (override_until === null), {
      error: "Another amount for a while has an end.",
      path: ["override_until"],
    }),
  );
export type LimitForm = z.infer<typeof limitForm>;

export const NEW_LIMIT: LimitForm = {
  name: "",
  scope: { kind: "key", subject: "" },
  unit: "requests",
  amount: "",
  period: "minute",
  burst: "",
  models: [],
  is_per_model: false,
  is_shadow: false,
  override_amount: "",
  override_until: null,
};

export function formOf(limit: Limit): LimitForm {
  return {
    name: limit.name,
    scope: { kind: limit.scope.kind, subject: limit.scope.id ?? limit.scope.value ?? "" },
    unit: limit.unit,
    amount: limit.amount,
    period: limit.period ?? "minute",
    burst: limit.burst ?? "",
    models: limit.models ?? [],
    is_per_model: limit.is_per_model,
    is_shadow: limit.is_shadow,
    override_amount: limit.override_amount ?? "",
    override_until: limit.override_until,
  };
}

function terms(form: LimitForm) {
  const number = (value: number | "") => (value === "" ? null : value);
  return {
    name: form.name.trim(),
    amount: form.amount === "" ? 0 : form.amount,
    burst: form.unit === "parallel" ? null : number(form.burst),
    models: form.models.length > 0 ? form.models : null,
    is_shadow: form.is_shadow,
    override_amount: number(form.override_amount),
    override_until: form.override_until,
  };
}

export function createBody(form: LimitForm): Schemas["LimitCreate"] {
  return {
    ...terms(form),
    scope: scopeBody(form.scope),
    unit: form.unit,
    is_per_model: form.is_per_model,
    period: form.unit === "parallel" ? null : form.period,
  };
}

export function updateBody(form: LimitForm, limit: Limit): Schemas["LimitUpdate"] {
  const before: Record<string, unknown> = { ...terms(formOf(limit)) };
  return Object.fromEntries(
    Object.entries(terms(form)).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])),
  );
}

/** "100 requests a minute". */
export function rateWords({ amount: count, unit, period }: Pick<Limit, "amount" | "unit" | "period">): string {
  const label = UNITS.find(({ value }) => value === unit)?.label ?? unit;
  return `${count.toLocaleString("en-US")} ${label}${period === null ? "" : ` a ${period}`}`;
}
