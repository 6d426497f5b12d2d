/**
 * A gateway for tests: `answer("get", "/api/v1/keys", { data: [], next_cursor: null })`, its answers typed by the paths of
 * our OpenAPI document, so that a test cannot rest on a shape the gateway does not have.
 */
import { HttpResponse, http, type PathParams } from "msw";
import { setupServer } from "msw/node";
import type { Schemas } from "@/api/client";
import type { paths } from "@/api/schema";

export const server = setupServer();

type Method = "get" | "post" | "put" | "patch" | "delete";
type Success<Operation> = Operation extends { responses: infer Responses }
  ? Responses extends { 200: { content: { "application/json": infer Body } } }
    ? Body
    : Responses extends { 201: { content: { "application/json": infer Body } } }
      ? Body
      : Responses extends { 202: { content: { "application/json": infer Body } } }
        ? Body
        : undefined
  : never;

export interface Asked {
  request: Request;
  url: URL;
  params: PathParams;
  body: unknown;
}

type Answered<Path extends keyof paths, M extends Method> =
  | Success<paths[Path][M]>
  | Response
  | ((asked: Asked) => Success<paths[Path][M]> | Response | Promise<Success<paths[Path][M]> | Response>);

/** The answer to a call from now on; the last one said holds. Returns the list of what was asked. */
export function answer<M extends Method, Path extends keyof paths>(
  method: M,
  path: Path,
  answered: Answered<Path, M>,
): Asked[] {
  const calls: Asked[] = [];
  const pattern = `*${path.replaceAll(/\{(\w+)\}/g, ":$1")}`;
  server.use(
    http[method](pattern, async ({ request, params }) => {
      const text = await request.clone().text();
      const asked = { request, url: new URL(request.url), params, body: text ? JSON.parse(text) : undefined };
      calls.push(asked);
      const made = typeof answered === "function" ? await (answered as (asked: Asked) => unknown)(asked) : answered;
      // The same answer to a second question: a body can be read once.
      if (made instanceof Response) return made.clone();
      return made === undefined ? new HttpResponse(null, { status: 204 }) : HttpResponse.json(made as never);
    }),
  );
  return calls;
}

/** A refusal as the gateway words it. */
export function refusal(status: number, code: string, detail: string): Response {
  const body: Schemas["Problem"] = {
    type: `urn:tollkeeper:problem:${code}`,
    title: "Refused",
    status,
    detail,
    code,
    request_id: `req_${"0".repeat(32)}`,
  };
  return HttpResponse.json(body, { status, headers: { "content-type": "application/problem+json" } });
}
