// Anthropic's Node SDK and the AI SDK, unmodified, against models of every provider: run by tests/e2e/test_node_sdk.py.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";

const { TOLLKEEPER_BASE_URL: baseURL, TOLLKEEPER_KEY: apiKey } = process.env;
const origin = baseURL.replace(/\/v1$/, "");
const question = "What does the gateway do?";
const messages = [{ role: "user", content: question }];
const schema = {
  type: "object",
  properties: { city: { type: "string" }, unit: { type: "string", enum: ["celsius", "fahrenheit"] } },
  required: ["city", "unit"],
  additionalProperties: false,
};
const weather = { name: "get_weather", description: "The weather in a city.", input_schema: schema };
const claude = new Anthropic({ baseURL: origin, apiKey, maxRetries: 0 });

for (const provider of ["up", "claude", "gemini", "bedrock"]) {
  const asked = { model: `${provider}/simulated`, max_tokens: 300, messages };

  describe(`Anthropic's SDK, ${provider}`, () => {
    test("whole and streamed", async () => {
      const whole = await claude.messages.create(asked);
      assert.equal(whole.stop_reason, "end_turn");
      assert.ok(whole.content[0].text.includes(question));
      const stream = claude.messages.stream(asked);
      let said = "";
      stream.on("text", (text) => (said += text));
      const final = await stream.finalMessage();
      assert.equal(said, whole.content[0].text);
      assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
    });

    test("tools and back again", async () => {
      const first = await claude.messages.stream({ ...asked, tools: [weather] }).finalMessage();
      assert.equal(first.stop_reason, "tool_use");
      const use = first.content.at(-1);
      assert.ok(schema.properties.unit.enum.includes(use.input.unit));
      const result = { type: "tool_result", tool_use_id: use.id, content: "18 degrees" };
      const turns = [...messages, { role: "assistant", content: first.content }, { role: "user", content: [result] }];
      const after = await claude.messages.create({ ...asked, tools: [weather], messages: turns });
      assert.match(after.content[0].text, /18 degrees/);
    });
  });

  const models = {
    "Messages": createAnthropic({ baseURL, apiKey })(`${provider}/simulated`),
    // Of a name with a slash this client thinks that it is the whole place.
    "Gemini": createGoogleGenerativeAI({ baseURL: `${origin}/v1beta`, apiKey })(`models/${provider}/simulated`),
    "Chat Completions": createOpenAI({ baseURL, apiKey }).chat(`${provider}/simulated`),
    "Responses": createOpenAI({ baseURL, apiKey }).responses(`${provider}/simulated`),
  };
  for (const [dialect, model] of Object.entries(models)) {
    describe(`the AI SDK by ${dialect}, ${provider}`, () => {
      test("whole and streamed", async () => {
        const whole = await generateText({ model, prompt: question, maxRetries: 0 });
        assert.ok(whole.text.includes(question));
        assert.equal(whole.finishReason, "stop");
        const streamed = streamText({ model, prompt: question, maxRetries: 0 });
        let said = "";
        for await (const text of streamed.textStream) said += text;
        assert.equal(said, whole.text);
        assert.equal((await streamed.usage).outputTokens, whole.usage.outputTokens);
      });

      test("an agent of two steps", async () => {
        const given = [];
        const tools = {
          get_weather: tool({
            description: "The weather in a city.",
            inputSchema: jsonSchema(schema),
            execute: async (input) => (given.push(input), "18 degrees"),
          }),
        };
        const done = streamText({ model, prompt: question, tools, stopWhen: stepCountIs(3), maxRetries: 0 });
        assert.match(await done.text, /18 degrees/);
        assert.equal(given.length, 1);
        assert.ok(schema.properties.unit.enum.includes(given[0].unit));
      });

      test("structured output", async () => {
        const output = Output.object({ schema: jsonSchema(schema) });
        const done = await generateText({ model, prompt: question, output, maxRetries: 0 });
        assert.equal(typeof done.output.city, "string");
      });
    });
  }
}

describe("errors", () => {
  for (const [model, kind] of [
    ["claude/simulated-status-429", Anthropic.RateLimitError],
    ["up/simulated-status-429", Anthropic.RateLimitError],
    ["gemini/simulated-status-500", Anthropic.InternalServerError],
    ["bedrock/simulated-context", Anthropic.BadRequestError],
    ["no-such-model", Anthropic.NotFoundError],
  ]) {
    test(`${model} is ${kind.name}`, async () => {
      await assert.rejects(claude.messages.create({ model, max_tokens: 50, messages }), (error) => {
        assert.ok(error instanceof kind, String(error));
        assert.ok(error.requestID);
        return true;
      });
    });
  }

  test("a stream that breaks is an error", async () => {
    for (const model of ["up/simulated-cut-after-5", "claude/simulated-error-after-5"]) {
      await assert.rejects(claude.messages.stream({ model, max_tokens: 50, messages }).finalMessage());
    }
  });
});
