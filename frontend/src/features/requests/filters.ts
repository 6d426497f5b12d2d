/** The filters of the page as the URL has them, and as the server takes them. */
import type { paths } from "@/api/schema";
import type { Range } from "@/lib/range";
import type { Url } from "@/lib/urlState";
import { type Call, STATUSES } from "./status";

export type CallQuery = NonNullable<paths["/api/v1/requests"]["get"]["parameters"]["query"]>;

/** Every name that stands for a filter; the range has its own. */
export const FILTERS = [
  "status",
  "model",
  "provider",
  "key",
  "user",
  "project",
  "slower",
  "dearer",
  "request_id",
] as const;

export function queryOf(url: Url, range: Range): CallQuery {
  const listed = (values: string[]) => (values.length > 0 ? values : undefined);
  const statuses = url.all("status").filter((one): one is Call["status"] => STATUSES.some((known) => known === one));
  const slower = Number(url.get("slower"));
  const pasted = url.get("request_id")?.trim();
  return {
    // Whenever it was: who looks for one call does not know the day.
    ...(pasted ? { request_id: pasted } : { from: range.from, to: range.to }),
    status: listed(statuses) as CallQuery["status"],
    model: listed(url.all("model")),
    provider: listed(url.all("provider")),
    api_key_id: listed(url.all("key")),
    user_id: listed(url.all("user")),
    project_id: listed(url.all("project")),
    min_latency_ms: slower > 0 ? Math.round(slower) : undefined,
    min_cost_usd: url.get("dearer"),
  };
}

export function isFiltered(url: Url): boolean {
  return FILTERS.some((name) => url.all(name).length > 0);
}
