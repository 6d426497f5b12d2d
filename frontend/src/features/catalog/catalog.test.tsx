import { screen, within } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import type { Schemas } from "@/api/client";
import { renderConsole } from "@/test/render";
import { answer } from "@/test/server";
import { byProvider, type Target, worstOf } from "./health";
import { createBody, leadsTo, modelForm, ratesOf } from "./models";

const ID = `prv_${"1".repeat(32)}`;
const PROVIDER: Schemas["ProviderOut"] = {
  id: ID,
  name: "openai",
  kind: "openai",
  is_active: true,
  managed_by: "api",
  has_credential: true,
  base_url: "https://api.openai.com/v1",
  credentials: [],
  version: 3,
};

function target(changed: Partial<Target>): Target {
  return {
    provider: "openai",
    model: "gpt",
    credential_id: null,
    state: "closed",
    why: null,
    since: "2026-03-01T00:00:00Z",
    until: null,
    latency_ms: 300,
    latency_ms_p50: 250,
    latency_ms_p95: 900,
    error_share: 0,
    in_flight: 1,
    calls_per_minute: 10,
    failures_per_minute: 0,
    is_suspect: false,
    ...changed,
  };
}

describe("the health of a provider", () => {
  it("is that of its worst target", () => {
    const targets = [target({}), target({ state: "half_open" }), target({ provider: "other", state: "quarantined" })];
    expect(worstOf(byProvider(targets).get("openai") ?? [])?.state).toBe("half_open");
    expect(worstOf([])).toBeUndefined();
  });
});

describe("a model", () => {
  it("is made of what was typed", () => {
    const form = { name: " fast ", targets: ["openai/org/gpt-5", "azure/gpt"], input: "0.15", output: "0.60" };
    expect(modelForm.safeParse(form).success).toBe(true);
    expect(createBody(form)).toEqual({
      name: "fast",
      targets: [
        { provider: "openai", model: "org/gpt-5" },
        { provider: "azure", model: "gpt" },
      ],
      price: { input_per_million: "0.15", output_per_million: "0.60" },
    });
  });

  it.each([
    { name: "", targets: ["a/b"], input: "", output: "" },
    { name: "a", targets: [], input: "", output: "" },
    { name: "a", targets: ["a"], input: "", output: "" },
    { name: "a", targets: ["a/b"], input: "1", output: "" },
    { name: "a", targets: ["a/b"], input: "free", output: "1" },
  ])("is not made of $name $targets $input $output", (form) => {
    expect(modelForm.safeParse(form).success).toBe(false);
  });

  it("says where it leads, and its rates", () => {
    expect(leadsTo({ policy: "eu-first", targets: [] })).toBe("policy eu-first");
    expect(
      leadsTo({
        policy: null,
        targets: [
          { provider: "a", model: "b" },
          { provider: "c", model: "d" },
        ],
      }),
    ).toBe("a / b, then 1 more");
    expect(ratesOf({ input_per_million: "1", per_image: null, tiers: [], per_request: "0.01" })).toEqual([
      ["input per million", "1"],
      ["per request", "0.01"],
    ]);
  });
});

it("shows an open breaker, and lets an administrator reset it", async () => {
  answer("get", "/api/v1/catalog/providers", { data: [PROVIDER], next_cursor: null });
  answer("get", "/api/v1/catalog/providers/{provider_id}", PROVIDER);
  const broken = target({
    state: "open",
    why: "3 of 4 calls failed",
    until: "2026-03-01T00:01:00Z",
    error_share: 0.75,
  });
  answer("get", "/api/v1/router/health", {
    data: [target({ model: "mini" }), broken],
    next_cursor: null,
    worker_id: "wrk_1",
  });
  const reset = answer("post", "/api/v1/router/breakers/reset", { count: 1, worker_id: "wrk_1" });
  const { user } = renderConsole("/providers");
  await user.click(await screen.findByText("open: 1 of 2"));
  const drawer = await screen.findByRole("dialog");
  expect(await within(drawer).findByText("3 of 4 calls failed")).toBeVisible();
  await user.click(within(drawer).getByRole("button", { name: "Reset" }));
  await expect.poll(() => reset.length).toBe(1);
  expect(reset[0]?.body).toEqual({ provider: "openai", model: "gpt" });
});

it("offers no change to who may only look", async () => {
  answer("get", "/api/v1/catalog/providers", { data: [PROVIDER], next_cursor: null });
  renderConsole("/providers", { permissions: ["me:view", "catalog:view"] });
  expect(await screen.findByText("not called yet")).toBeVisible();
  expect(screen.queryByRole("button", { name: "Add a provider" })).toBeNull();
});
