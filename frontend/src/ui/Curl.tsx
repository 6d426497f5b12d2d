/** The API call behind what the reader sees, to copy. */
import { type ApiCall, curlOf } from "@/lib/snippets";
import { CodeBlock } from "./Copy";

export function Curl({ call }: { call: ApiCall }) {
  return <CodeBlock code={curlOf(call, location.origin)} what="curl command" />;
}
