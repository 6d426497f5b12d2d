/** What to paste: calls of the control plane as `curl`, and first calls of the gateway with a key. */

/** Inside single quotes of a POSIX shell. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

export interface ApiCall {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** From `/api/v1`, with its query. */
  path: string;
  body?: unknown;
  /** Of the version that is changed. */
  etag?: string;
}

export function curlOf(call: ApiCall, origin: string): string {
  const parts = [`curl ${call.method === "GET" ? "" : `-X ${call.method} `}${quoted(origin + call.path)}`];
  parts.push(`-H "Authorization: Bearer $TOLLKEEPER_ADMIN_KEY"`);
  if (call.etag !== undefined) parts.push(`-H ${quoted(`If-Match: ${call.etag}`)}`);
  if (call.body !== undefined) {
    parts.push(`-H 'Content-Type: application/json'`, `-d ${quoted(JSON.stringify(call.body))}`);
  }
  return parts.join(" \\\n  ");
}

export const SNIPPETS = ["curl", "Python", "JavaScript", ".env"] as const;
export type SnippetKind = (typeof SNIPPETS)[number];

/** The first call with a key, in four tongues. */
export function snippetOf(kind: SnippetKind, baseUrl: string, key: string, model: string): string {
  const message = "Say hello in one word.";
  switch (kind) {
    case "curl": {
      const body = JSON.stringify({ model, messages: [{ role: "user", content: message }] });
      return [
        `curl ${quoted(`${baseUrl}/chat/completions`)}`,
        `-H ${quoted(`Authorization: Bearer ${key}`)}`,
        `-H 'Content-Type: application/json'`,
        `-d ${quoted(body)}`,
      ].join(" \\\n  ");
    }
    case "Python":
      return [
        "from openai import OpenAI",
        "",
        `client = OpenAI(base_url=${JSON.stringify(baseUrl)}, api_key=${JSON.stringify(key)})`,
        "reply = client.chat.completions.create(",
        `    model=${JSON.stringify(model)},`,
        `    messages=[{"role": "user", "content": ${JSON.stringify(message)}}],`,
        ")",
        "print(reply.choices[0].message.content)",
      ].join("\n");
    case "JavaScript":
      return [
        'import OpenAI from "openai";',
        "",
        `const client = new OpenAI({ baseURL: ${JSON.stringify(baseUrl)}, apiKey: ${JSON.stringify(key)} });`,
        "const reply = await client.chat.completions.create({",
        `  model: ${JSON.stringify(model)},`,
        `  messages: [{ role: "user", content: ${JSON.stringify(message)} }],`,
        "});",
        "console.log(reply.choices[0].message.content);",
      ].join("\n");
    case ".env":
      return [`OPENAI_BASE_URL=${baseUrl}`, `OPENAI_API_KEY=${key}`].join("\n");
  }
}
