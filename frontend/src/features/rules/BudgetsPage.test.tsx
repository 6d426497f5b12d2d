import { screen } from "@testing-library/react";
import { beforeEach, expect, it } from "vitest";
import type { Schemas } from "@/api/client";
import { renderConsole } from "@/test/render";
import { answer, refusal } from "@/test/server";

const ID = `bud_${"1".repeat(32)}`;
const NAME = "a budget of a very long name ".repeat(7).trim();
const EMPTY = { data: [], next_cursor: null };
const BUDGET: Schemas["BudgetView"] = {
  id: ID,
  tenant_id: null,
  name: NAME,
  description: "",
  scope: { kind: "tenant", id: null, value: null },
  models: ["gpt-*"],
  is_per_model: false,
  is_platform: false,
  managed_by: "api",
  declared_at: null,
  origin: null,
  created_at: "2026-03-01T00:00:00Z",
  updated_at: "2026-03-01T00:00:00Z",
  version: 4,
  amount_usd: "100",
  window: "month",
  time_zone: "UTC",
  anchor: null,
  window_seconds: null,
  counts_from: "2026-03-01T00:00:00Z",
  mode: "hard",
  increase_usd: null,
  increase_until: null,
  rolls_over: false,
  refusal_status: 429,
  thresholds: [80, 100],
};
const STATUS: Schemas["BudgetStatus"] = {
  id: ID,
  subject: null,
  window_start: "2026-03-01T00:00:00Z",
  window_end: "2026-04-01T00:00:00Z",
  amount_usd: "100",
  spent_usd: "91.000000001",
  held_usd: "1.5",
  remaining_usd: "7.499999999",
  is_live: true,
  burn_rate_usd_per_hour: "0.5",
  forecast: { runs_out_at: null, window_usd: "95.2" },
  thresholds_passed: [80],
  holds: [],
  subjects: [],
};

beforeEach(() => {
  for (const path of ["keys", "teams", "projects", "users"] as const) answer("get", `/api/v1/${path}`, EMPTY as never);
  answer("get", "/api/v1/budgets/{budget_id}/status", STATUS);
});

it("says what is gone of each as the server says it", async () => {
  answer("get", "/api/v1/budgets", { data: [BUDGET], next_cursor: null });
  renderConsole("/budgets");
  expect(await screen.findByText("$91.000000001 of $100.00")).toBeVisible();
  expect(screen.getByText(NAME)).toBeVisible();
});

it("gives one: money goes out as it was typed", async () => {
  answer("get", "/api/v1/budgets", EMPTY);
  const made = answer("post", "/api/v1/budgets", BUDGET);
  const { user } = renderConsole("/budgets");
  expect(await screen.findByText("There is no budget yet.")).toBeVisible();
  await user.click(screen.getAllByRole("button", { name: "Give a budget" })[0] as HTMLElement);
  await user.type(await screen.findByRole("textbox", { name: "Name" }), "checkout");
  await user.type(screen.getByRole("textbox", { name: "Dollars" }), "0.000000001");
  await user.click(screen.getByRole("button", { name: "Give it" }));
  await expect.poll(() => made.length).toBe(1);
  expect(made[0]?.body).toMatchObject({ name: "checkout", amount_usd: "0.000000001", scope: { kind: "tenant" } });
});

it("is deleted only by who types its name, in the version that was looked at", async () => {
  answer("get", "/api/v1/budgets", { data: [BUDGET], next_cursor: null });
  answer("get", "/api/v1/budgets/{budget_id}", BUDGET);
  const gone = answer("delete", "/api/v1/budgets/{budget_id}", () => new Response(null, { status: 204 }));
  const { user } = renderConsole(`/budgets?open=${ID}&tab=terms`);
  await user.click(await screen.findByRole("button", { name: "Delete …" }));
  const button = await screen.findByRole("button", { name: "Delete this budget" });
  expect(button).toBeDisabled();
  await user.type(screen.getByRole("textbox", { name: /to confirm/ }), NAME);
  await user.click(button);
  await expect.poll(() => gone.length).toBe(1);
  expect(gone[0]?.request.headers.get("if-match")).toBe('"4"');
});

it("shows who may not see budgets that they may not", async () => {
  answer("get", "/api/v1/budgets", () => refusal(403, "permission_denied", "Your role has no budgets."));
  renderConsole("/budgets");
  expect(await screen.findByText("Your role has no budgets.")).toBeVisible();
});
