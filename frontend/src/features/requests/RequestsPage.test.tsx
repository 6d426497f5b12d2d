import { screen, waitFor, within } from "@testing-library/react";
import { expect, test } from "vitest";
import type { Schemas } from "@/api/client";
import { renderConsole, TENANT } from "@/test/render";
import { answer, refusal } from "@/test/server";
import type { Call } from "./status";
import { storyOf } from "./story";

type Detail = Schemas["RequestDetail"];
const ID = `req_${"a".repeat(32)}`;
const LONG = `model-${"x".repeat(194)}`;

function call(changed: Partial<Call> = {}): Call {
  return {
    request_id: ID,
    client_request_id: null,
    created_at: "2026-05-04T10:00:00Z",
    tenant_id: TENANT,
    api_key_id: `key_${"3".repeat(32)}`,
    user_id: null,
    team_id: null,
    project_id: null,
    environment: "live",
    run_id: null,
    end_user: null,
    operation: "chat",
    dialect: "openai",
    model: "gpt-4o",
    provider: "openai",
    upstream_model: "gpt-4o-2024",
    is_stream: true,
    status: "ok",
    http_status: 200,
    error_code: null,
    ended: "completed",
    attempts: 1,
    latency_ms: 1234,
    first_token_ms: 200,
    overhead_ms: 0.4,
    prompt_tokens: 10,
    completion_tokens: 20,
    cost_usd: "0.0198",
    cache: null,
    guardrail: null,
    ...changed,
  };
}

function attempt(changed: Partial<Detail["billed"][number]> = {}): Detail["billed"][number] {
  return {
    attempt: 1,
    provider: "openai",
    upstream_model: "gpt-4o-2024",
    status: "ok",
    http_status: 200,
    error_code: null,
    prompt_tokens: 10,
    completion_tokens: 20,
    cost_usd: "0.0198",
    latency_ms: 1200,
    first_token_ms: 200,
    estimated: false,
    upstream_request_id: null,
    ...changed,
  };
}

function listed(...calls: Call[]) {
  answer("get", "/api/v1/catalog/providers", { data: [], next_cursor: null });
  return answer("get", "/api/v1/requests", { data: calls, next_cursor: null });
}

test("calls are listed with what they took and cost", async () => {
  listed(call(), call({ request_id: `req_${"b".repeat(32)}`, model: LONG, status: "error", http_status: 502 }));
  renderConsole("/requests");
  expect(await screen.findByText("gpt-4o")).toBeVisible();
  expect(screen.getByText(LONG)).toBeVisible();
  expect(screen.getByText("error 502")).toBeVisible();
  expect(screen.getAllByText("$0.0198")).toHaveLength(2);
  expect(screen.getAllByText("1,234 ms")).toHaveLength(2);
});

test("every filter of the address is asked of the server, and nothing else", async () => {
  const asked = listed();
  renderConsole(
    `/requests?status=error&status=blocked&model=gpt-4o&key=key_1&slower=500&dearer=0.5&from=2026-01-01T00:00:00Z`,
  );
  await waitFor(() => expect(asked.length).toBeGreaterThan(0));
  const search = asked[0]?.url.searchParams;
  expect(search?.getAll("status")).toEqual(["error", "blocked"]);
  expect(Object.fromEntries(search ?? [])).toMatchObject({
    model: "gpt-4o",
    api_key_id: "key_1",
    min_latency_ms: "500",
    min_cost_usd: "0.5",
    from: "2026-01-01T00:00:00Z",
  });
});

test("a request id is looked for whenever it was", async () => {
  const asked = listed();
  renderConsole(`/requests?request_id=${ID}&range=1h`);
  await waitFor(() => expect(asked.length).toBeGreaterThan(0));
  expect(asked[0]?.url.searchParams.get("request_id")).toBe(ID);
  expect(asked[0]?.url.searchParams.has("from")).toBe(false);
  expect(await screen.findByText("No call fits these filters.")).toBeVisible();
});

test("no call yet names the command that makes one", async () => {
  listed();
  renderConsole("/requests");
  expect(await screen.findByText(/curl 'http:\/\/localhost:8000\/v1\/chat\/completions'/)).toBeVisible();
});

test("a refusal is told with its request id", async () => {
  listed();
  answer("get", "/api/v1/requests", refusal(403, "forbidden", "This needs the permission 'requests:view'."));
  renderConsole("/requests");
  expect(await screen.findByText("This needs the permission 'requests:view'.")).toBeVisible();
});

test("a row opens its story, J goes to the next, and the address tells which", async () => {
  const next = `req_${"b".repeat(32)}`;
  listed(call(), call({ request_id: next, model: "claude" }));
  answer("get", "/api/v1/requests/{request_id}", ({ params }) => ({
    ...call({ request_id: String(params.request_id), model: params.request_id === ID ? "gpt-4o" : "claude" }),
    billed: [attempt()],
  }));
  const { user, router } = renderConsole("/requests");
  await user.click(await screen.findByText("gpt-4o"));
  const drawer = await screen.findByRole("dialog");
  expect(await within(drawer).findByText("Attempt 1: openai")).toBeVisible();
  expect(within(drawer).getByText(ID)).toBeVisible();
  await user.keyboard("j");
  await waitFor(() => expect(router.state.location.search).toMatchObject({ open: next }));
  expect(await screen.findByText(next)).toBeVisible();
});

test.each<[string, Partial<Detail>, string[]]>([
  ["a call that was answered", { billed: [attempt()] }, ["Key", "Limits and budgets", "Attempt 1: openai", "Bill"]],
  [
    "one that a limit refused",
    { ended: "refused", status: "error", http_status: 429, error_code: "rate_limit_exceeded", attempts: 0, billed: [] },
    ["Key", "Limits and budgets"],
  ],
  [
    "one that a guardrail blocked",
    { ended: "refused", status: "blocked", error_code: "guardrail_blocked", guardrail: "pii", attempts: 0, billed: [] },
    ["Key", "Limits and budgets", "Guardrails"],
  ],
  [
    "one that failed over",
    { attempts: 3, billed: [attempt({ attempt: 2, status: "error", http_status: 502 }), attempt({ attempt: 3 })] },
    ["Key", "Limits and budgets", "Attempt 2: openai", "Attempt 3: openai", "One more attempt", "Bill"],
  ],
  [
    "one that the cache answered",
    { status: "cached", cache: "exact", attempts: 0, billed: [] },
    ["Key", "Limits and budgets", "Cache", "Bill"],
  ],
])("the story of %s", (_name, changed, steps) => {
  expect(storyOf({ ...call(), billed: [], ...changed }).map((step) => step.what)).toEqual(steps);
});
