import { screen, waitFor } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { expect, test } from "vitest";
import type { Schemas } from "@/api/client";
import { renderConsole } from "@/test/render";
import { answer, server } from "@/test/server";
import { codeOf } from "./code";
import { add, bodyOf, NOT_RUN, type Prompt } from "./run";

const KEY = `key_${"3".repeat(32)}`;
const ID = `req_${"a".repeat(32)}`;
const PROMPT: Prompt = { model: "m", system: "", user: "Hi", temperature: "", maxTokens: "", schema: "", tools: "" };

function events(...data: unknown[]): string {
  return data.map((one) => `data: ${typeof one === "string" ? one : JSON.stringify(one)}\n\n`).join("");
}

function knows(keys: Partial<Schemas["KeyView"]>[]) {
  answer("get", "/api/v1/me", { keys } as Schemas["Me"]);
  answer("get", "/api/v1/catalog/models", { data: [], next_cursor: null });
}

test("an answer streams in, as text, with what it took and cost", async () => {
  knows([{ id: KEY, name: "mine", status: "active", scopes: ["inference"], environment: "live" }]);
  answer("post", "/api/v1/auth/refresh", {
    access_token: "the-access-token",
    token_type: "bearer",
    expires_in: 900,
    csrf_token: "another",
  });
  const asked: Request[] = [];
  server.use(
    http.post("*/v1/chat/completions", ({ request }) => {
      asked.push(request);
      const body =
        events(
          { choices: [{ delta: { content: "<img src=x onerror=alert(1)> " } }] },
          { choices: [{ delta: { content: "there" }, finish_reason: "stop" }] },
          { choices: [], usage: { prompt_tokens: 3, completion_tokens: 4 } },
        ) + ": x-tollkeeper-cost-usd 0.00012\n\ndata: [DONE]\n\n";
      return new HttpResponse(body, { headers: { "content-type": "text/event-stream", "x-request-id": ID } });
    }),
  );
  const { user, container } = renderConsole("/playground");
  await user.type(await screen.findByRole("textbox", { name: /Prompt/ }), "Hi");
  await user.click(screen.getByRole("button", { name: "Run" }));
  expect(await screen.findByText("<img src=x onerror=alert(1)> there")).toBeVisible();
  expect(container.querySelector("main img")).toBeNull();
  expect(await screen.findByText("$0.00012")).toBeVisible();
  expect(screen.getByText("3 in, 4 out")).toBeVisible();
  expect(asked[0]?.headers.get("authorization")).toBe("Bearer the-access-token");
  expect(asked[0]?.headers.get("x-tollkeeper-key-id")).toBe(KEY);
  expect(JSON.stringify({ ...localStorage, ...sessionStorage })).not.toContain("the-access-token");
});

test("a refusal is told in its words with its request id", async () => {
  knows([{ id: KEY, name: "mine", status: "active", scopes: ["inference"], environment: "live" }]);
  answer("post", "/api/v1/auth/refresh", { access_token: "t", token_type: "bearer", expires_in: 900, csrf_token: "c" });
  server.use(
    http.post("*/v1/chat/completions", () =>
      HttpResponse.json(
        { error: { message: "Your budget is spent.", code: "insufficient_quota", request_id: ID } },
        { status: 429 },
      ),
    ),
  );
  const { user } = renderConsole("/playground");
  await user.type(await screen.findByRole("textbox", { name: /Prompt/ }), "Hi");
  await user.click(screen.getByRole("button", { name: "Run" }));
  expect(await screen.findByText("Your budget is spent.")).toBeVisible();
  await waitFor(() => expect(screen.getByText(ID)).toBeVisible());
});

test("without a key of one's own it says what to do", async () => {
  knows([{ id: KEY, name: "old", status: "revoked", scopes: ["inference"], environment: "live" }]);
  renderConsole("/playground");
  expect(await screen.findByRole("link", { name: "Create one" })).toBeVisible();
});

test("parameters that are not set are not sent, and a broken schema is refused before anything is", () => {
  expect(bodyOf(PROMPT)).toEqual({ model: "m", messages: [{ role: "user", content: "Hi" }] });
  const full = bodyOf({ ...PROMPT, system: "Be brief.", temperature: 0, maxTokens: 5, schema: '{"type":"object"}' });
  expect(full).toMatchObject({ temperature: 0, max_tokens: 5, response_format: { type: "json_schema" } });
  expect(() => bodyOf({ ...PROMPT, tools: "[" })).toThrow(SyntaxError);
});

test("a stream is added up, calls of tools included", () => {
  const first = add(
    NOT_RUN,
    { choices: [{ delta: { tool_calls: [{ index: 0, function: { name: "weather", arguments: "{" } }] } }] },
    12,
  );
  const second = add(first, { choices: [{ delta: { tool_calls: [{ index: 0, function: { arguments: "}" } }] } }] }, 20);
  expect(second).toMatchObject({ toolCalls: "weather {}", firstTokenMs: 12 });
});

test("code to paste cannot be left by what is in the prompt", () => {
  const body = bodyOf({ ...PROMPT, user: `it's """ $(id)` });
  expect(codeOf("curl", body, "http://gateway/v1")).toContain("it'\\''s");
  expect(codeOf("Python", body, "http://gateway/v1")).not.toContain('it\'s """');
});
