/** What the record of a call tells, in the order of its way: key → limits → guardrails → cache → attempts → bill. Pure. */
import type { Schemas } from "@/api/client";
import { formatMs, formatUsd } from "@/lib/format";
import type { TimelineStep } from "@/ui/Timeline";

type Detail = Schemas["RequestDetail"];

const LIMITS = new Set([
  "rate_limit_exceeded",
  "insufficient_quota",
  "budget_unavailable",
  "cost_unbounded",
  "cap_required",
  "unpriced_model",
]);

export function storyOf(call: Detail): TimelineStep[] {
  const steps: TimelineStep[] = [
    { what: "Key", verdict: "accepted", tone: "good", detail: `${call.operation}, ${call.environment}` },
  ];
  const isRefused = call.ended === "refused";
  if (isRefused && LIMITS.has(call.error_code ?? "")) {
    return [...steps, { what: "Limits and budgets", verdict: "refused", tone: "bad", detail: call.error_code ?? "" }];
  }
  if (isRefused && call.status !== "blocked") {
    return [
      ...steps,
      { what: "The call", verdict: "refused", tone: "bad", detail: `${call.http_status} ${call.error_code ?? ""}` },
    ];
  }
  steps.push({ what: "Limits and budgets", verdict: "admitted", tone: "good" });
  if (call.status === "blocked") {
    steps.push({ what: "Guardrails", verdict: "blocked", tone: "warn", detail: call.guardrail ?? "" });
    if (call.attempts === 0) return steps;
  } else if (call.guardrail !== null) {
    steps.push({ what: "Guardrails", verdict: call.guardrail, tone: "info" });
  }
  if (call.cache !== null) {
    const isHit = call.status === "cached";
    steps.push({ what: "Cache", verdict: call.cache, tone: isHit ? "info" : "calm" });
  }
  for (const attempt of call.billed) {
    const isGood = attempt.status === "ok";
    steps.push({
      what: `Attempt ${attempt.attempt}: ${attempt.provider}`,
      verdict: isGood ? `${attempt.http_status}` : `${attempt.status} ${attempt.http_status}`,
      tone: isGood ? "good" : "bad",
      detail: [attempt.upstream_model, attempt.error_code].filter(Boolean).join(", "),
      ms: attempt.latency_ms,
    });
  }
  const unseen = call.attempts - call.billed.length;
  if (unseen > 0 && call.status !== "cached") {
    steps.push({
      what: unseen === 1 ? "One more attempt" : `${unseen} more attempts`,
      verdict: "not billed",
      tone: "calm",
      detail: call.provider ?? "",
    });
  }
  if (call.ended === "cancelled") steps.push({ what: "Caller", verdict: "hung up", tone: "calm" });
  steps.push({
    what: "Bill",
    verdict: call.cost_usd === null ? "no price" : formatUsd(call.cost_usd),
    tone: call.cost_usd === null ? "warn" : "good",
    detail: `${call.prompt_tokens} tokens in, ${call.completion_tokens} out; the gateway's own share ${formatMs(call.overhead_ms)}`,
  });
  return steps;
}
