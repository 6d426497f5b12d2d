import { screen, within } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import { renderConsole } from "@/test/render";
import { answer } from "@/test/server";
import { branchName, type Policy, whenWords } from "./branches";

const POLICY: Policy = {
  id: `rtp_${"1".repeat(32)}`,
  name: "eu-first",
  description: "",
  tenant_id: null,
  strategy: "weighted",
  branches: [
    { provider: "azure", model: "gpt", weight: 3 },
    { strategy: "priority", weight: 1, branches: [{ provider: "openai" }, { policy: "last-resort" }] },
  ],
  fallbacks: { budget: [{ provider: "local", model: "small" }] },
  published_version: 2,
  draft_version: 3,
  managed_by: "api",
  version: 5,
};

describe("a branch in words", () => {
  it("names what it leads to, and when", () => {
    expect(branchName({ provider: "a", model: "b" })).toBe("a / b");
    expect(branchName({ policy: "p" })).toBe("policy p");
    expect(
      whenWords({ when: { tenants: null, headers: {}, min_input_tokens: 5, capabilities: ["vision"] } as never }),
    ).toContain("min input tokens 5");
    expect(whenWords({})).toBeNull();
  });
});

it("draws a policy, and publishes its draft in the version that was looked at", async () => {
  answer("get", "/api/v1/route-policies", { data: [POLICY], next_cursor: null });
  answer("get", "/api/v1/route-policies/{policy_id}", POLICY);
  answer("get", "/api/v1/route-policies/{policy_id}/versions", {
    data: [
      { number: 3, is_published: false, created_at: "2026-03-02T00:00:00Z", published_at: null, branches: [] },
      {
        number: 2,
        is_published: true,
        created_at: "2026-03-01T00:00:00Z",
        published_at: "2026-03-01T00:00:00Z",
        branches: [],
      },
    ],
    next_cursor: null,
  });
  const published = answer("post", "/api/v1/route-policies/{policy_id}/publish", POLICY);
  const { user } = renderConsole("/routing");
  await user.click(await screen.findByText("eu-first"));
  const drawer = await screen.findByRole("dialog");
  expect(await within(drawer).findByText("azure / gpt")).toBeVisible();
  expect(within(drawer).getByText("75 %")).toBeVisible();
  expect(within(drawer).getByText("policy last-resort")).toBeVisible();
  expect(within(drawer).getByText("Instead, where the budget is spent")).toBeVisible();
  await user.click(within(drawer).getByRole("tab", { name: "Versions" }));
  await user.click(await within(drawer).findByRole("button", { name: "Publish" }));
  await expect.poll(() => published.length).toBe(1);
  expect(published[0]?.request.headers.get("if-match")).toBe('"5"');
});

it("explains a call: who is asked, who is left out and why", async () => {
  answer("get", "/api/v1/route-policies", { data: [], next_cursor: null });
  answer("get", "/api/v1/catalog/models", { data: [], next_cursor: null });
  answer("get", "/api/v1/keys", { data: [], next_cursor: null });
  answer("post", "/api/v1/router/explain", {
    model: "fast",
    policy: null,
    policy_id: null,
    policy_version: null,
    share: 0,
    targets: [
      {
        provider: "openai",
        model: "gpt",
        price: null,
        context_tokens: null,
        max_output_tokens: null,
        blocked_seconds: 0,
        latency_ms: null,
        in_flight: null,
        cache_read_share: 0,
      },
    ],
    left_out: [{ provider: "azure", model: "gpt", reason: "breaker_open", detail: "3 of 4 calls failed" }],
    fallbacks: [],
    notes: [],
    input_tokens: 12,
    output_tokens: 100,
    most_usd: "0.01",
    usual_usd: null,
    limits: [],
    budgets: [],
    refusal: null,
  });
  const { user } = renderConsole("/routing?view=explain&model=fast");
  await user.click(await screen.findByRole("button", { name: "Explain" }));
  const told = await screen.findByRole("status", { name: "Explanation" });
  expect(within(told).getByText("1. openai / gpt")).toBeVisible();
  expect(within(told).getByText("breaker open")).toBeVisible();
  expect(within(told).getByText("$0.01")).toBeVisible();
});
