/** The call of a pane as code to paste. */
import { quoted } from "@/lib/snippets";

export type Tongue = "curl" | "Python" | "JavaScript";

export function codeOf(tongue: Tongue, body: Record<string, unknown>, baseUrl: string): string {
  if (tongue === "curl") {
    return [
      `curl ${quoted(`${baseUrl}/chat/completions`)}`,
      '-H "Authorization: Bearer $OPENAI_API_KEY"',
      "-H 'Content-Type: application/json'",
      `-d ${quoted(JSON.stringify(body))}`,
    ].join(" \\\n  ");
  }
  const shown = JSON.stringify(body, null, 4);
  if (tongue === "JavaScript") {
    return [
      'import OpenAI from "openai";',
      "",
      `const client = new OpenAI({ baseURL: ${JSON.stringify(baseUrl)} });`,
      `const reply = await client.chat.completions.create(${JSON.stringify(body, null, 2)});`,
      "console.log(reply.choices[0].message);",
    ].join("\n");
  }
  return [
    "import json",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${JSON.stringify(baseUrl)})`,
    `call = json.loads(r"""${shown.replaceAll('"""', '\\"\\"\\"')}""")`,
    "print(client.chat.completions.create(**call).choices[0].message)",
  ].join("\n");
}
