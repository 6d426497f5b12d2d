/** From the answer of `/usage` to what tiles show. Counts are counted; money is shown as the server wrote it. */
import type { Schemas } from "@/api/client";
import { chartNumber } from "@/lib/format";

export type Report = Schemas["UsageReport"];
type Group = Report["data"][number];

const HOUR_MS = 3_600_000;

/** One value for each hour of the range, hours without calls too. */
export function hourly(report: Report | undefined, of: (group: Group) => number): number[] {
  if (!report) return [];
  const known = new Map(report.data.map((group) => [Date.parse(group.hour ?? ""), of(group)]));
  const first = Math.ceil(Date.parse(report.since) / HOUR_MS) * HOUR_MS;
  const last = Date.parse(report.until);
  const values: number[] = [];
  for (let hour = first; hour < last && values.length < 300; hour += HOUR_MS) values.push(known.get(hour) ?? 0);
  return values;
}

export const SERIES = {
  requests: (group: Group) => group.requests,
  errors: (group: Group) => group.errors,
  p95: (group: Group) => group.p95_latency_ms ?? 0,
  spend: (group: Group) => chartNumber(group.cost_usd),
};

/** "12 % more than before"; nothing to compare with says so. */
export function change(now: number, before: number): string {
  if (before === 0) return now === 0 ? "none before either" : "none before";
  const share = Math.round((100 * (now - before)) / before);
  if (share === 0) return "as before";
  return share > 0 ? `${share} % more than the day before` : `${-share} % less than the day before`;
}
