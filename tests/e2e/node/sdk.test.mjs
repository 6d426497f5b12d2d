// The official Node SDK, unmodified, against a running gateway: run by tests/e2e/test_node_sdk.py, which reads the results.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";

import OpenAI, { toFile } from "openai";

const { TOLLKEEPER_BASE_URL: baseURL, TOLLKEEPER_KEY: apiKey, UPSTREAM_STATS: statsURL } = process.env;
const messages = [{ role: "user", content: "What does the gateway do?" }];
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather in a city.",
    strict: true,
    parameters: {
      type: "object",
      properties: { city: { type: "string" }, unit: { type: "string", enum: ["celsius", "fahrenheit"] } },
      required: ["city", "unit"],
      additionalProperties: false,
    },
  },
};
const time = { type: "function", function: { name: "get_time", parameters: { type: "object", properties: {} } } };
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

async function stats(after_ = 0) {
  return (await fetch(`${statsURL}?after=${after_}`)).json();
}

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

for (const model of ["priced-chat", "simulated"]) {
  describe(`answers of ${model}`, () => {
    let whole;
    before(async () => {
      whole = await client.chat.completions.create({ model, messages });
    });

    test("a whole answer", () => {
      assert.match(whole.choices[0].message.content, /What does the gateway do\?/);
      assert.equal(whole.choices[0].finish_reason, "stop");
      assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
      assert.ok(whole._request_id);
    });

    test("a streamed answer is the whole one in pieces", async () => {
      const chunks = await collect(await client.chat.completions.create({ model, messages, stream: true }));
      assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), whole.choices[0].message.content);
      assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
      assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
      assert.ok(chunks.every((chunk) => !chunk.usage));
    });

    test("usage comes last in a stream when asked for", async () => {
      const options = { model, messages, stream: true, stream_options: { include_usage: true } };
      const chunks = await collect(await client.chat.completions.create(options));
      assert.deepEqual(chunks.at(-1).choices, []);
      assert.deepEqual(chunks.at(-1).usage, whole.usage);
    });

    test("the stream helper", async () => {
      const stream = client.chat.completions.stream({ model, messages });
      let heard = "";
      stream.on("content", (delta) => (heard += delta));
      assert.equal(await stream.finalContent(), whole.choices[0].message.content);
      assert.equal(heard, whole.choices[0].message.content);
    });

    test("parallel tools, whole and streamed", async () => {
      const options = { model, messages, tools: [weather, time], parallel_tool_calls: true };
      const { message, finish_reason } = (await client.chat.completions.create(options)).choices[0];
      assert.equal(finish_reason, "tool_calls");
      assert.deepEqual(message.tool_calls.map((call) => call.function.name), ["get_weather", "get_time"]);
      const final = await client.chat.completions.stream(options).finalChatCompletion();
      const calls = final.choices[0].message.tool_calls;
      assert.deepEqual(calls.map((call) => call.function.name), ["get_weather", "get_time"]);
      assert.ok(["celsius", "fahrenheit"].includes(JSON.parse(calls[0].function.arguments).unit));
    });

    for (const stream of [false, true]) {
      test(`runTools ${stream ? "streamed" : "whole"}`, async () => {
        const asked = [];
        const tool = {
          type: "function",
          function: {
            ...weather.function,
            parse: JSON.parse,
            function: (given) => {
              asked.push(given);
              return "18 degrees";
            },
          },
        };
        const runner = client.chat.completions.runTools({ model, messages, tools: [tool], stream });
        assert.match(await runner.finalContent(), /18 degrees/);
        assert.equal(asked.length, 1);
        assert.equal(typeof asked[0].city, "string");
      });
    }

    test("JSON schema through parse", async () => {
      const schema = {
        type: "object",
        properties: { answer: { type: "string" }, score: { type: "integer", minimum: 1, maximum: 5 } },
        required: ["answer", "score"],
        additionalProperties: false,
      };
      const response_format = { type: "json_schema", json_schema: { name: "verdict", strict: true, schema } };
      const parsed = await client.chat.completions.parse({ model, messages, response_format });
      const verdict = JSON.parse(parsed.choices[0].message.content);
      assert.equal(typeof verdict.answer, "string");
      assert.ok(verdict.score >= 1 && verdict.score <= 5);
    });

    test("legacy completions", async () => {
      const options = { model, prompt: "Once upon", max_tokens: 8 };
      const { text } = (await client.completions.create(options)).choices[0];
      const chunks = await collect(await client.completions.create({ ...options, stream: true }));
      assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), text);
    });
  });
}

describe("embeddings and models", () => {
  for (const model of ["priced-embedding", "simulated-embedding"]) {
    test(`embeddings of ${model} in every encoding`, async () => {
      const options = { model, input: ["one text", "another"], dimensions: 64 };
      const packed = await client.embeddings.create(options);
      const floats = await client.embeddings.create({ ...options, encoding_format: "float" });
      assert.deepEqual(packed.data.map((row) => row.index), [0, 1]);
      assert.deepEqual(packed.data.map((row) => row.embedding), floats.data.map((row) => row.embedding));
      assert.equal(packed.usage.total_tokens, 3);
    });
  }

  test("models are listed and retrieved by any name", async () => {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    for (const name of ["priced-chat", "vendor/priced-chat:latest"]) {
      assert.ok(names.includes(name));
      assert.equal((await client.models.retrieve(name)).id, name);
    }
  });

  test("both prefixes", async () => {
    const other = new OpenAI({ baseURL: baseURL.replace(/\/v1$/, "/api/v1"), apiKey, maxRetries: 0 });
    assert.ok((await other.chat.completions.create({ model: "priced-chat", messages })).id);
  });
});

describe("errors", () => {
  const failures = [
    ["no-such-model", {}, OpenAI.NotFoundError, 404, "model_not_found"],
    ["priced-chat", { n: 0 }, OpenAI.BadRequestError, 400, "integer_below_min_value"],
    ["up/simulated-context", {}, OpenAI.BadRequestError, 400, "context_length_exceeded"],
    ["up/simulated-status-429", {}, OpenAI.RateLimitError, 429, "rate_limit_exceeded"],
    ["up/simulated-status-500", {}, OpenAI.InternalServerError, 502, "upstream_error"],
    ["up/simulated-hang", {}, OpenAI.InternalServerError, 504, "upstream_timeout"],
    ["up/simulated-status-429", { stream: true }, OpenAI.RateLimitError, 429, "rate_limit_exceeded"],
    ["nowhere-chat", {}, OpenAI.InternalServerError, 502, "upstream_unreachable"],
  ];
  for (const [model, fields, kind, status, code] of failures) {
    test(`${model} ${JSON.stringify(fields)} is ${kind.name} ${code}`, async () => {
      await assert.rejects(client.chat.completions.create({ model, messages, ...fields }), (error) => {
        assert.equal(error.constructor, kind);
        assert.equal(error.status, status);
        assert.equal(error.code, code);
        assert.ok(error.requestID);
        assert.ok(error.error.message);
        return true;
      });
    });
  }

  test("an unknown key is AuthenticationError", async () => {
    const stranger = new OpenAI({ baseURL, apiKey: "sk-unknown", maxRetries: 0 });
    await assert.rejects(stranger.chat.completions.create({ model: "simulated", messages }), OpenAI.AuthenticationError);
  });

  for (const model of ["up/simulated-cut-after-5", "simulated-error-after-5"]) {
    test(`a stream that breaks is an error: ${model}`, async () => {
      const stream = await client.chat.completions.create({ model, messages, stream: true });
      let said = "";
      await assert.rejects(
        async () => {
          for await (const chunk of stream) {
            assert.equal(chunk.choices[0].finish_reason, null);
            said += chunk.choices[0].delta.content ?? "";
          }
        },
        (error) => error instanceof OpenAI.APIError && Boolean(error.code),
      );
      assert.equal(said, "This is a simulated");
    });
  }
});

describe("transport", () => {
  test("the SDK retries what passes", async () => {
    const model = "up/simulated-status-503-times-2-retry-after-10ms";
    const { last_sequence } = await stats(1e9);
    const patient = new OpenAI({ baseURL, apiKey, maxRetries: 2 });
    const options = { model, messages: [{ role: "user", content: "From Node." }] };
    const answer = await patient.chat.completions.create(options);
    assert.equal(answer.choices[0].finish_reason, "stop");
    const { records } = await stats(last_sequence);
    assert.equal(records.filter((record) => record.model === model).length, 3);
  });

  test("raw headers", async () => {
    const { data, response } = await client.chat.completions.create({ model: "priced-chat", messages }).withResponse();
    assert.ok(data.id);
    assert.match(response.headers.get("x-request-id"), /^req_/);
    assert.equal(response.headers.get("x-tollkeeper-provider"), "upstream");
    assert.ok(Number(response.headers.get("x-tollkeeper-cost-usd")) > 0);
    assert.ok(Number(response.headers.get("x-tollkeeper-overhead-ms")) >= 0);
  });

  test("an aborted stream is cancelled at the upstream", async () => {
    const model = "up/simulated-pace-50ms-length-500";
    const { last_sequence } = await stats(1e9);
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    let seen = 0;
    for await (const _ of stream) if (++seen === 5) stream.controller.abort();
    const deadline = Date.now() + 5000;
    let ended;
    while (!ended && Date.now() < deadline) {
      const { records } = await stats(last_sequence);
      ended = records.find((record) => record.model === model && record.outcome !== "open");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(ended?.outcome, "cancelled");
    assert.ok(ended.tokens_sent < 60);
  });

  test("comments while waiting do not disturb the SDK", async () => {
    const options = { model: "up/simulated-pace-800ms-length-2", messages, stream: true };
    const chunks = await collect(await client.chat.completions.create(options));
    assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), "This is");
  });
});

for (const model of ["priced-chat", "simulated"]) {
  describe(`${model} beside text`, () => {
    // One second of silence at 8,000 samples of 16 bits.
    const head = Buffer.from("524946460000000057415645666d74201000000001000100401f0000803e0000020010006461746100000000", "hex");
    const sound = Buffer.concat([head, Buffer.alloc(16_000)]);
    const picture = Buffer.from("89504e470d0a1a0a0000000d49484452000000080000000808020000004b6d29dc", "hex");
    sound.writeUInt32LE(36 + 16_000, 4);
    sound.writeUInt32LE(16_000, 40);

    test("moderation", async () => {
      const { results } = await client.moderations.create({ model, input: ["a", "b"] });
      assert.deepEqual(results.map((result) => result.flagged), [false, false]);
    });

    test("pictures", async () => {
      const { data } = await client.images.generate({ model, prompt: "a cat", n: 2 });
      assert.equal(data.length, 2);
      const stream = await client.images.generate({ model, prompt: "a cat", stream: true, partial_images: 1 });
      const types = (await collect(stream)).map((event) => event.type);
      assert.deepEqual(types, ["image_generation.partial_image", "image_generation.completed"]);
    });

    test("an edited picture", async () => {
      const image = [await toFile(picture, "a.png", { type: "image/png" }), await toFile(picture, "b.png")];
      const { data } = await client.images.edit({ model, prompt: "a hat", image });
      assert.equal(data.length, 1);
    });

    test("speech", async () => {
      const answer = await client.audio.speech.create({ model, voice: "alloy", input: "Hello.", response_format: "wav" });
      assert.equal(answer.headers.get("content-type"), "audio/wav");
      assert.equal(Buffer.from(await answer.arrayBuffer()).subarray(0, 4).toString(), "RIFF");
    });

    test("transcripts", async () => {
      const file = () => toFile(sound, "sound.wav", { type: "audio/wav" });
      const { text } = await client.audio.transcriptions.create({ model, file: await file() });
      assert.equal(text, "A simulated transcript of 1.0 seconds.");
      const options = { model, file: await file(), response_format: "text" };
      assert.equal(await client.audio.transcriptions.create(options), `${text}\n`);
      const stream = await client.audio.transcriptions.create({ model, file: await file(), stream: true });
      assert.equal((await collect(stream)).at(-1).text, text);
    });

    test("speech that breaks is an error", async () => {
      const options = { model: "simulated-cut-after-1-pace-20ms", voice: "alloy", input: "Hello there. ".repeat(20) };
      const answer = await client.audio.speech.create(options);
      await assert.rejects(answer.arrayBuffer());
    });
  });
}

describe("files and batches", () => {
  const lines = [1, 2, 3].map((number) => ({
    custom_id: `node-${number}`,
    method: "POST",
    url: "/v1/chat/completions",
    body: { model: "priced-chat", messages, ...(number === 3 ? { n: "many" } : {}) },
  }));
  const content = lines.map((line) => `${JSON.stringify(line)}\n`).join("");

  test("a file goes in, is listed, comes back and goes", async () => {
    const made = await client.files.create({ file: await toFile(Buffer.from(content), "node.jsonl"), purpose: "batch" });
    assert.equal(made.bytes, Buffer.byteLength(content));
    const listed = [];
    for await (const file of client.files.list({ limit: 1, purpose: "batch" })) listed.push(file.id);
    assert.ok(listed.includes(made.id));
    assert.equal(await (await client.files.content(made.id)).text(), content);
    assert.equal((await client.files.delete(made.id)).deleted, true);
    await assert.rejects(client.files.retrieve(made.id), OpenAI.NotFoundError);
  });

  test("a batch is answered line by line", async () => {
    const file = await client.files.create({ file: await toFile(Buffer.from(content), "node.jsonl"), purpose: "batch" });
    let batch = await client.batches.create({
      input_file_id: file.id,
      endpoint: "/v1/chat/completions",
      completion_window: "24h",
    });
    const deadline = Date.now() + 60_000;
    while (!["completed", "failed", "expired", "cancelled"].includes(batch.status) && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      batch = await client.batches.retrieve(batch.id);
    }
    assert.equal(batch.status, "completed");
    assert.deepEqual(batch.request_counts, { total: 3, completed: 2, failed: 1 });
    const read = async (id) => (await (await client.files.content(id)).text()).trim().split("\n").map(JSON.parse);
    const answers = await read(batch.output_file_id);
    assert.deepEqual(answers.map((one) => one.custom_id), ["node-1", "node-2"]);
    assert.match(answers[0].response.body.choices[0].message.content, /What does the gateway do\?/);
    const [refused] = await read(batch.error_file_id);
    assert.equal(refused.custom_id, "node-3");
    assert.equal(refused.response.status_code, 400);
    const found = [];
    for await (const one of client.batches.list({ limit: 1 })) found.push(one.id);
    assert.ok(found.includes(batch.id));
    await assert.rejects(client.batches.cancel(batch.id), OpenAI.ConflictError);
  });
});
