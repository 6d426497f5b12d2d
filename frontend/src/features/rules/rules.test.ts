import { describe, expect, it } from "vitest";
import { shareOf, toneOf } from "./BudgetBar";
import { type Budget, budgetForm, createBody, formOf, NEW_BUDGET, updateBody } from "./budgetForm";
import { burnDown } from "./burnDown";
import { limitForm, NEW_LIMIT, createBody as newLimit, rateWords } from "./limitForm";
import { scopeBody, scopeWords, usageFilter } from "./scope";

const KEY = `key_${"1".repeat(32)}`;
const BUDGET: Budget = {
  id: `bud_${"1".repeat(32)}`,
  tenant_id: null,
  name: "all of it",
  description: "",
  scope: { kind: "key", id: KEY, value: null },
  models: null,
  is_per_model: false,
  is_platform: false,
  managed_by: "api",
  declared_at: null,
  origin: null,
  created_at: "2026-03-01T00:00:00Z",
  updated_at: "2026-03-01T00:00:00Z",
  version: 1,
  amount_usd: "0.000000001",
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

describe("a budget's form", () => {
  it("sends money as it was typed", () => {
    const form = { ...NEW_BUDGET, name: " checkout ", amount_usd: "123456.000000001" };
    expect(budgetForm.safeParse(form).success).toBe(true);
    expect(createBody(form)).toMatchObject({ name: "checkout", amount_usd: "123456.000000001", thresholds: [80, 100] });
    expect(createBody(form)).not.toHaveProperty("increase_usd");
  });

  it.each(["1e3", "-1", "1,5", "0.0000000001", "ten", ""])("takes %s for no amount", (amount_usd) => {
    expect(budgetForm.safeParse({ ...NEW_BUDGET, name: "a", amount_usd }).success).toBe(false);
  });

  it("wants an end with an increase", () => {
    const form = { ...NEW_BUDGET, name: "a", amount_usd: "1", increase_usd: "5" };
    expect(budgetForm.safeParse(form).success).toBe(false);
    expect(budgetForm.safeParse({ ...form, increase_until: "2027-01-01T00:00:00Z" }).success).toBe(true);
  });

  it("changes what was changed and nothing else", () => {
    expect(updateBody(formOf(BUDGET), BUDGET)).toEqual({});
    expect(updateBody({ ...formOf(BUDGET), mode: "soft" }, BUDGET)).toEqual({ mode: "soft" });
  });
});

describe("a limit's form", () => {
  it("of parallel calls has no period and no burst", () => {
    const form = { ...NEW_LIMIT, name: "a", unit: "parallel" as const, amount: 5, burst: 3 as const };
    expect(limitForm.safeParse(form).success).toBe(true);
    expect(newLimit(form)).toMatchObject({ unit: "parallel", period: null, burst: null, amount: 5 });
  });

  it("wants a number", () => {
    expect(limitForm.safeParse({ ...NEW_LIMIT, name: "a" }).success).toBe(false);
  });

  it("is said in words", () => {
    expect(rateWords({ amount: 1200, unit: "total_tokens", period: "minute" })).toBe("1,200 tokens a minute");
    expect(rateWords({ amount: 8, unit: "parallel", period: null })).toBe("8 calls at once");
  });
});

describe("whose calls a rule is about", () => {
  it("is said by name, or as each apart", () => {
    expect(scopeWords({ kind: "key", id: KEY, value: null }, () => "checkout")).toBe("Key checkout");
    expect(scopeWords({ kind: "user", id: null, value: null }, (id) => id)).toBe("Each person apart");
    expect(scopeWords({ kind: "tag", id: null, value: "team=a" }, (id) => id)).toBe("Tag team=a");
  });

  it("is sent as an id or as a value", () => {
    expect(scopeBody({ kind: "key", subject: KEY })).toEqual({ kind: "key", id: KEY });
    expect(scopeBody({ kind: "model", subject: "gpt-*" })).toEqual({ kind: "model", value: "gpt-*" });
    expect(scopeBody({ kind: "end_user", subject: " " })).toEqual({ kind: "end_user" });
  });

  it("is found in the ledger where it can be", () => {
    expect(usageFilter({ kind: "tag", id: null, value: "team=a" })).toEqual({ tag: ["team:a"] });
    expect(usageFilter({ kind: "model", id: null, value: "gpt-*" })).toBeNull();
    expect(usageFilter({ kind: "endpoint", id: null, value: "embeddings" })).toBeNull();
  });
});

describe("a burn-down", () => {
  const HOUR = 3_600_000;
  const start = new Date("2026-03-01T00:00:00Z").getTime();
  const end = start + 24 * HOUR;

  it("goes from nothing to now, and its line to all of it", () => {
    const groups = [
      { hour: "2026-03-01T01:00:00Z", cost_usd: "2" },
      { hour: "2026-03-01T05:00:00Z", cost_usd: "1" },
    ];
    const burns = burnDown(groups as never, { start, end, amount: "24", now: start + 12 * HOUR });
    expect(burns.map(({ spent }) => spent)).toEqual([0, 2, 3, 3, null]);
    expect(burns.map(({ ideal }) => ideal)).toEqual([0, 2, 6, 12, 24]);
  });

  it("is never drawn beyond now", () => {
    const groups = [{ day: "2026-03-01T00:00:00Z", cost_usd: "2" }];
    const burns = burnDown(groups as never, { start, end, amount: "24", now: start + HOUR });
    expect(Math.max(...burns.filter(({ spent }) => spent !== null).map(({ at }) => at))).toBe(start + HOUR);
  });
});

it("colours what is nearly gone, and what is", () => {
  expect([79.9, 80, 100].map(toneOf)).toEqual(["good", "warn", "bad"]);
  expect(shareOf({ amount_usd: "0", spent_usd: "0" } as never)).toBe(100);
});
