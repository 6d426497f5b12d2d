import { screen } from "@testing-library/react";
import { expect, test } from "vitest";
import type { Schemas } from "@/api/client";
import { renderConsole } from "@/test/render";
import { answer, refusal } from "@/test/server";
import { change, hourly, SERIES } from "./series";

const SUMS: Schemas["UsageSums"] = {
  requests: 1200,
  errors: 30,
  prompt_tokens: 10,
  completion_tokens: 20,
  total_tokens: 30,
  input_tokens: 10,
  cache_read_tokens: 0,
  cache_write_tokens: 0,
  cache_write_1h_tokens: 0,
  input_audio_tokens: 0,
  input_image_tokens: 0,
  output_tokens: 20,
  reasoning_tokens: 0,
  output_audio_tokens: 0,
  output_image_tokens: 0,
  cost_usd: "12.5",
  provider_cost_usd: null,
  unpriced_requests: 0,
  average_latency_ms: 100,
  p50_latency_ms: 90,
  p95_latency_ms: 400,
};

function report(...data: Partial<Schemas["UsageGroup"]>[]): Schemas["UsageReport"] {
  return {
    data: data.map((group) => ({ ...SUMS, ...group })),
    next_cursor: null,
    totals: SUMS,
    is_truncated: false,
    since: "2026-05-03T10:00:00Z",
    until: "2026-05-03T14:00:00Z",
    zone: "UTC",
  };
}

test("an administrator sees four figures, as the server summed them", async () => {
  answer("get", "/api/v1/usage", ({ url }) =>
    url.searchParams.get("group_by") === "model"
      ? report({ model: "gpt-4o" })
      : report({ hour: "2026-05-03T11:00:00Z" }),
  );
  answer("get", "/api/v1/keys", { data: [], next_cursor: null });
  renderConsole("/", { permissions: ["me:view", "usage:view", "requests:view"] });
  expect(await screen.findByRole("link", { name: /^Requests: 1,200/ })).toHaveAttribute("href", "/console/requests");
  expect(await screen.findByRole("link", { name: /^Errors: 2.5 %/ })).toHaveAttribute(
    "href",
    "/console/requests?status=error",
  );
  expect(await screen.findByRole("link", { name: /^Spend: \$12.50/ })).toBeVisible();
  expect(await screen.findByRole("link", { name: "gpt-4o" })).toHaveAttribute("href", "/console/requests?model=gpt-4o");
});

test("a failure is told once, with its request id", async () => {
  answer("get", "/api/v1/usage", refusal(503, "dependency_unavailable", "The database does not answer."));
  renderConsole("/", { permissions: ["me:view", "usage:view"] });
  expect(await screen.findByText("The database does not answer.")).toBeVisible();
});

test("a developer sees the line to change, and their own work", async () => {
  answer("get", "/api/v1/me", refusal(503, "dependency_unavailable", "later"));
  renderConsole("/", { home: "developer", permissions: ["me:view"] });
  expect(await screen.findByText(/OpenAI\(base_url="http:\/\/localhost:8000\/v1"/)).toBeVisible();
  expect(await screen.findByText("later")).toBeVisible();
});

test("hours without calls are there, and changes are told in words", () => {
  expect(hourly(report({ hour: "2026-05-03T11:00:00Z", requests: 7 }), SERIES.requests)).toEqual([0, 7, 0, 0]);
  expect(change(12, 10)).toBe("20 % more than the day before");
  expect(change(5, 10)).toBe("50 % less than the day before");
  expect(change(0, 0)).toBe("none before either");
  expect(change(3, 0)).toBe("none before");
});
