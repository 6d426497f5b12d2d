/** What the page asks: read from the URL, sent to the server. Every number on the page answers one of these. */
import type { Zone } from "@/lib/format";
import type { Url } from "@/lib/urlState";

export const RANGES = {
  "24h": { label: "24 hours", hours: 24, bucket: "hour" },
  "7d": { label: "7 days", hours: 168, bucket: "day" },
  "30d": { label: "30 days", hours: 720, bucket: "day" },
  "90d": { label: "90 days", hours: 2160, bucket: "week" },
} as const;
export type RangeName = keyof typeof RANGES;
export const BUCKETS = ["hour", "day", "week", "month"] as const;
export type Bucket = (typeof BUCKETS)[number];

/** A word of the server's `group_by`, and the field of a group it fills. */
export const GROUPS = {
  model: { label: "Model", field: "model" },
  provider: { label: "Provider", field: "provider" },
  key: { label: "Key", field: "api_key_id" },
  team: { label: "Team", field: "team_id" },
  project: { label: "Project", field: "project_id" },
  user: { label: "Person", field: "user_id" },
  end_user: { label: "End user", field: "end_user" },
  tenant: { label: "Tenant", field: "tenant_id" },
} as const;
export type GroupName = keyof typeof GROUPS;

/** What the calls may be narrowed to: names in the URL, and of the server's query. */
export const FILTERS = {
  model: "model",
  provider: "provider",
  key: "api_key_id",
  team: "team_id",
  project: "project_id",
  user: "user_id",
  end_user: "end_user",
} as const;
export type FilterName = keyof typeof FILTERS;

export interface Question {
  range: RangeName | "custom";
  since: string;
  /** Left out: until now. */
  until: string | undefined;
  bucket: Bucket;
  group: GroupName;
  zone: string;
  filters: Partial<Record<(typeof FILTERS)[FilterName], string[]>>;
}

const HOUR_MS = 3_600_000;

function isName<Names extends object>(names: Names, text: string | undefined): text is Extract<keyof Names, string> {
  return text !== undefined && Object.hasOwn(names, text);
}

/** `now` is rounded, so that the same page asks the same question for an hour. */
export function readQuestion(url: Url, zone: Zone, now: Date): Question {
  const named = url.get("range");
  const from = url.get("from");
  const isCustom = from !== undefined;
  const range = isName(RANGES, named) ? named : "7d";
  const chosen = url.get("bucket");
  const group = url.get("group");
  const end = Math.ceil(now.getTime() / HOUR_MS) * HOUR_MS;
  const filters: Question["filters"] = {};
  for (const [name, field] of Object.entries(FILTERS)) {
    const values = url.all(name);
    if (values.length > 0) filters[field] = values;
  }
  return {
    range: isCustom ? "custom" : range,
    since: from ?? new Date(end - RANGES[range].hours * HOUR_MS).toISOString(),
    until: isCustom ? url.get("to") : undefined,
    bucket: BUCKETS.find((one) => one === chosen) ?? (isCustom ? "day" : RANGES[range].bucket),
    group: isName(GROUPS, group) ? group : "model",
    zone: zone === "utc" ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone,
    filters,
  };
}

/** The server's query of a question; `by` are the words of its `group_by`. */
export function queryOf(question: Question, by: string[]) {
  return {
    from: question.since,
    ...(question.until && { to: question.until }),
    tz: question.zone,
    group_by: by,
    ...question.filters,
  };
}

/** The export of just what is on the screen, made by the server. */
export function exportHref(question: Question, by: string[], format: "csv" | "jsonl"): string {
  const made = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...queryOf(question, by), format })) {
    for (const one of [value].flat()) made.append(name, one);
  }
  return `/api/v1/usage/export?${made}`;
}
