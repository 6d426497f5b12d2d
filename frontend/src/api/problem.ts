/** What the gateway says when it refuses: a problem document (RFC 9457) as an error with its request id. */
import type { components } from "./schema";

type Body = Partial<components["schemas"]["Problem"]> & Record<string, unknown>;

export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly requestId: string | null;
  readonly param: string | null;
  /** All that the document held, for what only one page knows how to show. */
  readonly body: Body;

  constructor(status: number, body: Body, requestId: string | null) {
    super(typeof body.detail === "string" && body.detail ? body.detail : `The gateway answered ${status}.`);
    this.name = "Problem";
    this.status = status;
    this.code = typeof body.code === "string" ? body.code : "";
    this.requestId = typeof body.request_id === "string" ? body.request_id : requestId;
    this.param = typeof body.param === "string" ? body.param : null;
    this.body = body;
  }

  get isForbidden(): boolean {
    return this.status === 403;
  }

  get isNotFound(): boolean {
    return this.status === 404;
  }
}

export class Unreachable extends Problem {
  constructor() {
    super(
      0,
      { code: "unreachable", detail: "The gateway cannot be reached. Check your connection and try again." },
      null,
    );
  }
}

export async function readProblem(response: Response): Promise<Problem> {
  let body: unknown = null;
  try {
    body = await response.json();
  } catch {
    // A proxy in between answers in its own words.
  }
  const known = typeof body === "object" && body !== null ? (body as Body) : {};
  return new Problem(response.status, known, response.headers.get("x-request-id"));
}
