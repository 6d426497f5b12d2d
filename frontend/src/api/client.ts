/**
 * The one way to the control plane: typed by our OpenAPI document, by the session's cookie, with the CSRF header on writes.
 *
 * `$api.useQuery("get", "/api/v1/…")` and `$api.useMutation(…)` in pages; `client` where there is no component. Every
 * refusal is thrown as a `Problem`. Two are dealt with here: without a session the reader is sent to sign in, and where a
 * fresh proof is asked for (`step_up_required`) they prove who they are and the request is made once more.
 */
import createClient from "openapi-fetch";
import createQueryHooks from "openapi-react-query";
import { readProblem, Unreachable } from "./problem";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export const CSRF_HEADER = "x-tollkeeper-csrf";

interface Session {
  csrf: string | null;
  /** Resolves to whether the reader has proven who they are. */
  stepUp: () => Promise<boolean>;
  signIn: () => void;
}

const session: Session = {
  csrf: null,
  stepUp: () => Promise.resolve(false),
  signIn: () => {
    const here = `${location.pathname}${location.search}`;
    location.assign(`/console/sign-in?${new URLSearchParams({ next: here })}`);
  },
};

/** The shell says how; the token lives in memory alone. */
export function connect(parts: Partial<Session>): void {
  Object.assign(session, parts);
}

function withToken(request: Request): Request {
  if (session.csrf !== null && !["GET", "HEAD"].includes(request.method)) {
    request.headers.set(CSRF_HEADER, session.csrf);
  }
  return request;
}

/** `fetch` with all of the above; for what is streamed. Throws a `Problem` for every answer that is none. */
export async function send(request: Request): Promise<Response> {
  const again = request.clone();
  const response = await reach(withToken(request));
  if (response.ok) return response;
  const problem = await readProblem(response);
  if (problem.status === 401 && ["session_ended", "missing_credential"].includes(problem.code)) {
    session.signIn();
  }
  if (problem.code === "step_up_required" && (await session.stepUp())) {
    const second = await reach(withToken(again));
    if (second.ok) return second;
    throw await readProblem(second);
  }
  throw problem;
}

async function reach(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Unreachable();
  }
}

export const client = createClient<paths>({
  baseUrl: typeof location === "undefined" ? "" : location.origin,
  credentials: "same-origin",
  cache: "no-store",
  headers: { accept: "application/json" },
  fetch: send,
});

export const $api = createQueryHooks(client);

/** For `If-Match`: the change holds for the version that was looked at. */
export function etagOf(row: { version: number }): string {
  return `"${row.version}"`;
}
