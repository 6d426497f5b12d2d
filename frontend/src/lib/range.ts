/** The time range of a page, in the URL: `range=24h`, or `from` and `to`; one set of words for every page. */
import { useMemo } from "react";
import { type Url, useUrlState } from "./urlState";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
export const RANGES = [
  { value: "15m", label: "15 minutes", ms: 15 * MINUTE_MS },
  { value: "1h", label: "Hour", ms: HOUR_MS },
  { value: "24h", label: "24 hours", ms: 24 * HOUR_MS },
  { value: "7d", label: "7 days", ms: 7 * 24 * HOUR_MS },
  { value: "30d", label: "30 days", ms: 30 * 24 * HOUR_MS },
] as const;
export type RangeName = (typeof RANGES)[number]["value"];

export interface Range {
  from: string;
  to?: string;
  /** Null for bounds of the reader's own. */
  name: RangeName | null;
}

/** A named range begins at a whole minute, so that the same question is asked for a while, and cached. */
export function rangeOf(url: Pick<Url, "get">, fallback: RangeName, now: number): Range {
  const from = url.get("from");
  if (from) return { from, to: url.get("to"), name: null };
  const wanted = url.get("range") ?? fallback;
  const found = RANGES.find((range) => range.value === wanted) ?? RANGES[2];
  return { from: new Date(Math.floor((now - found.ms) / MINUTE_MS) * MINUTE_MS).toISOString(), name: found.value };
}

/** Renewed each minute that something else changes; not by itself. */
export function useRange(fallback: RangeName = "24h"): Range {
  const [url] = useUrlState();
  const minute = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;
  return useMemo(() => rangeOf(url, fallback, minute), [url, fallback, minute]);
}
