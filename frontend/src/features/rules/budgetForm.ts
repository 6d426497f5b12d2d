/** What the form of a budget holds, and the bodies made of it. Money stays the text that was typed. */
import { z } from "zod/mini";
import type { Schemas } from "@/api/client";
import { scopeBody, scopeForm } from "./scope";

export type Budget = Schemas["BudgetView"];

const USD = /^\d{1,9}(\.\d{1,9})?$/;
const usd = z.string().check(z.trim(), z.regex(USD, "Dollars, such as 25.00."));

export const WINDOWS = ["hour", "day", "week", "month", "quarter", "year", "total"] as const;

export const budgetForm = z
  .object({
    name: z.string().check(z.trim(), z.minLength(1, "A name tells budgets apart."), z.maxLength(200)),
    scope: scopeForm,
    amount_usd: usd,
    window: z.enum([...WINDOWS, "custom"]),
    time_zone: z.string(),
    mode: z.enum(["hard", "soft"]),
    rolls_over: z.boolean(),
    models: z.array(z.string()),
    thresholds: z.array(z.string().check(z.regex(/^[1-9]\d{0,3}$/, "Percents, such as 80."))),
    refusal_status: z.enum(["429", "402"]),
    increase_usd: z.union([z.literal(""), usd]),
    increase_until: z.nullable(z.string()),
  })
  .check(
    z.refine(({ increase_usd, increase_until }) => (increase_usd === "") === (increase_until === null), {
      error: "An increase has an amount and an end.",
      path: ["increase_until"],
    }),
  );
export type BudgetForm = z.infer<typeof budgetForm>;

export const NEW_BUDGET: BudgetForm = {
  name: "",
  scope: { kind: "tenant", subject: "" },
  amount_usd: "",
  window: "month",
  time_zone: "UTC",
  mode: "hard",
  rolls_over: false,
  models: [],
  thresholds: ["80", "100"],
  refusal_status: "429",
  increase_usd: "",
  increase_until: null,
};

export function formOf(budget: Budget): BudgetForm {
  return {
    name: budget.name,
    scope: { kind: budget.scope.kind, subject: budget.scope.id ?? budget.scope.value ?? "" },
    amount_usd: budget.amount_usd,
    window: budget.window,
    time_zone: budget.time_zone,
    mode: budget.mode,
    rolls_over: budget.rolls_over,
    models: budget.models ?? [],
    thresholds: budget.thresholds.map(String),
    refusal_status: budget.refusal_status === 402 ? "402" : "429",
    increase_usd: budget.increase_usd ?? "",
    increase_until: budget.increase_until,
  };
}

/** What may be changed later. */
function terms(form: BudgetForm) {
  return {
    name: form.name.trim(),
    amount_usd: form.amount_usd.trim(),
    mode: form.mode,
    rolls_over: form.rolls_over,
    models: form.models.length > 0 ? form.models : null,
    thresholds: form.thresholds.map(Number),
    refusal_status: form.refusal_status === "402" ? (402 as const) : (429 as const),
    increase_usd: form.increase_usd === "" ? null : form.increase_usd.trim(),
    increase_until: form.increase_until,
  };
}

export function createBody(form: BudgetForm): Schemas["BudgetCreate"] {
  const { increase_usd, increase_until, ...rest } = terms(form);
  return {
    ...rest,
    ...(increase_usd !== null && { increase_usd, increase_until }),
    scope: scopeBody(form.scope),
    window: form.window,
    time_zone: form.time_zone,
  };
}

/** Only what differs, so that two people's changes of different things both hold. */
export function updateBody(form: BudgetForm, budget: Budget): Schemas["BudgetUpdate"] {
  const before: Record<string, unknown> = { ...terms(formOf(budget)) };
  return Object.fromEntries(
    Object.entries(terms(form)).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])),
  );
}
