/** What was spent by when, beside a straight line from nothing to all of it. Heights of a chart, never numbers in words. */
import type { Schemas } from "@/api/client";
import { chartNumber } from "@/lib/format";

export interface Burn {
  /** Milliseconds. */
  at: number;
  spent: number | null;
  ideal: number;
}

/** `groups`: sums by hour or by day, in order; each is spent at the end of its step. */
export function burnDown(
  groups: Pick<Schemas["UsageGroup"], "hour" | "day" | "cost_usd">[],
  { start, end, amount, now }: { start: number; end: number; amount: string; now: number },
): Burn[] {
  const whole = chartNumber(amount);
  const ideal = (at: number) => (whole * (at - start)) / (end - start);
  const burns: Burn[] = [{ at: start, spent: 0, ideal: 0 }];
  let spent = 0;
  for (const group of groups) {
    const began = group.hour ?? group.day;
    if (!began) continue;
    const length = group.hour ? 3_600_000 : 86_400_000;
    const at = Math.min(Math.max(new Date(began).getTime() + length, start), now, end);
    spent += chartNumber(group.cost_usd);
    burns.push({ at, spent, ideal: ideal(at) });
  }
  if (now < end) burns.push({ at: Math.max(now, start), spent, ideal: ideal(Math.max(now, start)) });
  burns.push({ at: end, spent: now >= end ? spent : null, ideal: whole });
  return burns;
}
