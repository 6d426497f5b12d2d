/** Numbers, money and spans of time as people read them. Money comes as a decimal string and is never calculated with. */

const COUNT = new Intl.NumberFormat("en-US");
const COMPACT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export const NONE = "–";

export function formatCount(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : COUNT.format(value);
}

export function formatCompact(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : COMPACT.format(value);
}

/** `"0.0198"` → `$0.0198`, `"1234.5"` → `$1,234.50`: grouped and padded as text, so no digit is lost or made up. */
export function formatUsd(value: string | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(value);
  if (!match) return value;
  const [, sign = "", whole = "0", fraction = ""] = match;
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return `${sign}$${grouped}.${fraction.padEnd(2, "0")}`;
}

/** For the heights of bars alone: what is shown as text comes from `formatUsd`. */
export function chartNumber(value: string | null | undefined): number {
  return value ? Number(value) : 0;
}

export function formatMs(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (value < 1) return `${value.toFixed(2)} ms`;
  if (value < 10_000) return `${COUNT.format(Math.round(value * 10) / 10)} ms`;
  return formatSeconds(value / 1000);
}

export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds * 10) / 10} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 172_800) return `${Math.round(seconds / 360) / 10} h`;
  return `${Math.round(seconds / 8640) / 10} days`;
}

/** `part` of `whole` in per cent; the numbers are counts, not money. */
export function formatShare(part: number, whole: number): string {
  return whole === 0 ? NONE : `${((100 * part) / whole).toFixed(1)} %`;
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

export function formatRelative(moment: Date, now: Date): string {
  const seconds = (moment.getTime() - now.getTime()) / 1000;
  const [unit, size] = STEPS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  return RELATIVE.format(Math.round(seconds / size), unit);
}

export type Zone = "utc" | "local";

export function zoneName(zone: Zone): string {
  return zone === "utc" ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone;
}

export function formatMoment(moment: Date, zone: Zone, { withSeconds = true } = {}): string {
  return new Intl.DateTimeFormat("sv-SE", {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    ...(withSeconds && { second: "2-digit" }),
    ...(zone === "utc" && { timeZone: "UTC" }),
  }).format(moment);
}
