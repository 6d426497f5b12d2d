/**
 * One streamed call as one of the reader's own keys, so that its limits, budgets and guardrails hold.
 *
 * The gateway takes the session's access token with `x-tollkeeper-key-id`; the token lives in memory alone.
 */
import { client, connect } from "@/api/client";
import { Problem, readProblem, Unreachable } from "@/api/problem";

export interface Prompt {
  model: string;
  system: string;
  user: string;
  temperature: number | "";
  maxTokens: number | "";
  /** A JSON schema the answer must fit, as text. */
  schema: string;
  /** The tools on offer, as OpenAI writes them: a JSON list. */
  tools: string;
}

export interface Run {
  text: string;
  toolCalls: string;
  firstTokenMs: number | null;
  ms: number | null;
  promptTokens: number | null;
  completionTokens: number | null;
  /** As the gateway wrote it. */
  costUsd: string | null;
  finish: string | null;
  requestId: string | null;
  provider: string | null;
  cache: string | null;
}

export const NOT_RUN: Run = {
  text: "",
  toolCalls: "",
  firstTokenMs: null,
  ms: null,
  promptTokens: null,
  completionTokens: null,
  costUsd: null,
  finish: null,
  requestId: null,
  provider: null,
  cache: null,
};

const COST = /^\s*x-tollkeeper-cost-usd (\S+)/;
const EARLY_MS = 60_000;
let token: { value: string; until: number } | null = null;
let asking: Promise<string> | null = null;

/** Both panes begin at once; a refresh is made once for them. */
function accessToken(): Promise<string> {
  if (token !== null && Date.now() < token.until) return Promise.resolve(token.value);
  asking ??= client
    .POST("/api/v1/auth/refresh")
    .then(({ data }) => {
      if (!data) throw new Unreachable();
      connect({ csrf: data.csrf_token });
      token = { value: data.access_token, until: Date.now() + data.expires_in * 1000 - EARLY_MS };
      return token.value;
    })
    .finally(() => {
      asking = null;
    });
  return asking;
}

/** Throws a SyntaxError for a schema or tools that are no JSON. */
export function bodyOf(prompt: Prompt): Record<string, unknown> {
  const schema = prompt.schema.trim();
  const tools = prompt.tools.trim();
  return {
    model: prompt.model,
    messages: [
      ...(prompt.system.trim() ? [{ role: "system", content: prompt.system }] : []),
      { role: "user", content: prompt.user },
    ],
    ...(prompt.temperature !== "" && { temperature: prompt.temperature }),
    ...(prompt.maxTokens !== "" && { max_tokens: prompt.maxTokens }),
    ...(schema && {
      response_format: {
        type: "json_schema",
        json_schema: { name: "answer", strict: true, schema: JSON.parse(schema) },
      },
    }),
    ...(tools && { tools: JSON.parse(tools) }),
  };
}

interface Chunk {
  choices?: {
    delta?: {
      content?: string | null;
      tool_calls?: { index: number; function?: { name?: string; arguments?: string } }[];
    };
    finish_reason?: string | null;
  }[];
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
  error?: { message?: string };
}

/** What is known after one more event. Pure. */
export function add(run: Run, chunk: Chunk, ms: number): Run {
  const choice = chunk.choices?.[0];
  const text = choice?.delta?.content ?? "";
  const calls = (choice?.delta?.tool_calls ?? [])
    .map(
      (call) =>
        (call.function?.name ? `${run.toolCalls ? "\n" : ""}${call.function.name} ` : "") +
        (call.function?.arguments ?? ""),
    )
    .join("");
  return {
    ...run,
    text: run.text + text + (chunk.error ? `\n${chunk.error.message ?? "The stream failed."}` : ""),
    toolCalls: run.toolCalls + calls,
    firstTokenMs: run.firstTokenMs ?? (text || calls ? ms : null),
    finish: choice?.finish_reason ?? (chunk.error ? "error" : run.finish),
    promptTokens: chunk.usage?.prompt_tokens ?? run.promptTokens,
    completionTokens: chunk.usage?.completion_tokens ?? run.completionTokens,
  };
}

export async function stream(
  prompt: Prompt,
  keyId: string,
  signal: AbortSignal,
  onRun: (run: Run) => void,
): Promise<void> {
  const body = { ...bodyOf(prompt), stream: true, stream_options: { include_usage: true } };
  const bearer = await accessToken();
  const { createParser } = await import("eventsource-parser");
  const started = performance.now();
  const since = () => performance.now() - started;
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    credentials: "omit",
    signal,
    headers: { authorization: `Bearer ${bearer}`, "x-tollkeeper-key-id": keyId, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw await refusalOf(response);
  let run: Run = {
    ...NOT_RUN,
    requestId: response.headers.get("x-request-id"),
    provider: response.headers.get("x-tollkeeper-provider"),
    cache: response.headers.get("x-tollkeeper-cache"),
  };
  const hear = (next: Run) => {
    run = next;
    onRun(run);
  };
  const parser = createParser({
    onEvent: ({ data }) => {
      if (data !== "[DONE]") hear(add(run, JSON.parse(data) as Chunk, since()));
    },
    onComment: (comment) => {
      const cost = COST.exec(comment)?.[1];
      if (cost !== undefined) hear({ ...run, costUsd: cost });
    },
  });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    parser.feed(value);
  }
  hear({ ...run, ms: since() });
}

/** OpenAI's shape of an error, as a problem. */
async function refusalOf(response: Response) {
  const problem = await readProblem(response.clone());
  const { error } = problem.body as { error?: { message?: string; code?: string; request_id?: string } };
  if (!error) return problem;
  const requestId = error.request_id ?? response.headers.get("x-request-id");
  return new Problem(response.status, { detail: error.message, code: error.code }, requestId);
}
