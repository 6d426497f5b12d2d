/** What is known of a provider's targets, in one word and a sentence. */
import type { Schemas } from "@/api/client";
import type { Tone } from "@/ui/StatusBadge";

export type Target = Schemas["TargetOut"];

const STATES: Record<Target["state"], { words: string; tone: Tone; rank: number; means: string }> = {
  closed: { words: "well", tone: "good", rank: 0, means: "Calls go there." },
  half_open: {
    words: "on trial",
    tone: "warn",
    rank: 1,
    means: "One call at a time finds out whether it is well again.",
  },
  paused: { words: "paused", tone: "warn", rank: 2, means: "The vendor asked to wait (Retry-After)." },
  open: {
    words: "open",
    tone: "bad",
    rank: 3,
    means: "It failed too often; calls go elsewhere until it is tried again.",
  },
  quarantined: {
    words: "refused",
    tone: "bad",
    rank: 4,
    means: "The vendor refuses the credential. Check it, then reset.",
  },
};

export function stateOf(state: Target["state"]) {
  return STATES[state];
}

/** The worst of a provider's targets; a provider that nobody has called yet has none. */
export function worstOf(targets: Target[]): Target | undefined {
  return [...targets].sort((one, other) => STATES[other.state].rank - STATES[one.state].rank)[0];
}

export function byProvider(targets: Target[]): Map<string, Target[]> {
  const found = new Map<string, Target[]>();
  for (const target of targets) found.set(target.provider, [...(found.get(target.provider) ?? []), target]);
  return found;
}
