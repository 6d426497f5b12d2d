/** Sums by time and group as the rows of a chart: the dearest groups by name, what is left of them as one more. */
import type { Schemas } from "@/api/client";
import { chartNumber, formatCount, formatMs, formatShare, formatUsd } from "@/lib/format";
import { type Bucket, GROUPS, type GroupName } from "./question";

type Sums = Schemas["UsageSums"];
export type Group = Schemas["UsageGroup"];

interface Metric {
  label: string;
  /** For the height of a bar, never for a number in words. */
  height: (sums: Sums) => number;
  /** As the server says it. */
  words: (sums: Sums) => string;
  /** Of a height, for the axis. */
  axis: (height: number) => string;
  /** Whether heights add up, so that bars may be stacked and a rest be drawn. */
  isSum: boolean;
}

export const METRICS = {
  cost: {
    label: "Spend",
    height: (sums) => chartNumber(sums.cost_usd),
    words: (sums) => formatUsd(sums.cost_usd),
    axis: (height) => `$${height >= 10 ? Math.round(height) : Number(height.toPrecision(2))}`,
    isSum: true,
  },
  requests: {
    label: "Requests",
    height: (sums) => sums.requests,
    words: (sums) => formatCount(sums.requests),
    axis: formatCount,
    isSum: true,
  },
  tokens: {
    label: "Tokens",
    height: (sums) => sums.total_tokens,
    words: (sums) => formatCount(sums.total_tokens),
    axis: (height) => Intl.NumberFormat("en", { notation: "compact" }).format(height),
    isSum: true,
  },
  errors: {
    label: "Errors",
    height: (sums) => sums.errors,
    words: (sums) => `${formatCount(sums.errors)} (${formatShare(sums.errors, sums.requests)})`,
    axis: formatCount,
    isSum: true,
  },
  latency: {
    label: "Average latency",
    height: (sums) => sums.average_latency_ms,
    words: (sums) => formatMs(sums.average_latency_ms),
    axis: formatMs,
    isSum: false,
  },
} as const satisfies Record<string, Metric>;
export type MetricName = keyof typeof METRICS;

export const OTHER = "Other";
const NOBODY = "none";

export function groupValue(row: Group, group: GroupName): string {
  const value = row[GROUPS[group].field];
  return value ?? NOBODY;
}

export interface Chart {
  names: string[];
  rows: Record<string, string | number>[];
}

/** `names`: of the groups to show by name, in order; `buckets` come as the server has them, in order of time. */
export function chartOf(
  data: Group[],
  { bucket, group, metric, names }: { bucket: Bucket; group: GroupName; metric: MetricName; names: readonly string[] },
): Chart {
  const { height, isSum } = METRICS[metric];
  const shown = new Set(names);
  const rows = new Map<string, Record<string, string | number>>();
  let hasOther = false;
  for (const one of data) {
    const time = one[bucket];
    if (!time) continue;
    const row = rows.get(time) ?? { time };
    rows.set(time, row);
    const name = groupValue(one, group);
    if (shown.has(name)) row[name] = height(one);
    else if (isSum) {
      row[OTHER] = Number(row[OTHER] ?? 0) + height(one);
      hasOther = true;
    }
  }
  return { names: hasOther ? [...names, OTHER] : [...names], rows: [...rows.values()] };
}
