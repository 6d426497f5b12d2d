import { screen, within } from "@testing-library/react";
import { expect, it } from "vitest";
import type { Schemas } from "@/api/client";
import { renderConsole } from "@/test/render";
import { answer, refusal } from "@/test/server";

function sums(cost_usd: string, requests: number): Schemas["UsageSums"] {
  return {
    requests,
    errors: 1,
    prompt_tokens: 50,
    completion_tokens: 30,
    total_tokens: 80,
    input_tokens: 40,
    cache_read_tokens: 10,
    cache_write_tokens: 0,
    cache_write_1h_tokens: 0,
    input_audio_tokens: 0,
    input_image_tokens: 0,
    output_tokens: 30,
    reasoning_tokens: 0,
    output_audio_tokens: 0,
    output_image_tokens: 0,
    cost_usd,
    provider_cost_usd: null,
    unpriced_requests: 0,
    average_latency_ms: 120,
  };
}

function report(data: Schemas["UsageGroup"][] = []): Schemas["UsageReport"] {
  return {
    data,
    next_cursor: null,
    totals: sums("1234.000000001", 12),
    is_truncated: false,
    since: "2026-03-01T00:00:00Z",
    until: "2026-03-08T00:00:00Z",
    zone: "UTC",
  };
}

it("shows totals as the server says them, and each group once", async () => {
  const asked = answer("get", "/api/v1/usage", ({ url }) =>
    report(
      url.searchParams.getAll("group_by").length === 1
        ? [
            { ...sums("1000", 4), model: "cheap-".repeat(30) },
            { ...sums("234.000000001", 8), model: "large" },
          ]
        : [],
    ),
  );
  const { user } = renderConsole("/usage?metric=requests&model=large");
  expect(await screen.findByText("$1,234.000000001")).toBeVisible();
  const table = await screen.findByRole("region", { name: "Sums by model" });
  const [first] = within(table).getAllByRole("row").slice(1);
  expect(first).toHaveTextContent("large");
  expect(asked.every(({ url }) => url.searchParams.get("model") === "large")).toBe(true);
  await user.click(screen.getByRole("button", { name: "No longer only model large" }));
  await expect.poll(() => asked.some(({ url }) => !url.searchParams.has("model"))).toBe(true);
});

it("says what went wrong, and its request id", async () => {
  answer("get", "/api/v1/usage", () => refusal(503, "dependency_unavailable", "The ledger does not answer."));
  renderConsole("/usage");
  const [alert] = await screen.findAllByRole("alert");
  expect(alert).toHaveTextContent("The ledger does not answer.");
  expect(alert).toHaveTextContent("req_");
});
