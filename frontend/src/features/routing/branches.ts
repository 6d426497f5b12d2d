/** The tree of a route policy, in words. */
import type { Schemas } from "@/api/client";

export type Branch = Schemas["BranchFields-Output"];
export type Policy = Schemas["RoutePolicyOut"];

const STRATEGIES: Record<Schemas["Strategy"], string> = {
  priority: "in order: the next one where the one before fails",
  weighted: "by weight, at random",
  least_latency: "the quickest of late",
  least_cost: "the cheapest",
  sticky: "always the same for one conversation",
  canary: "a share to the first, the rest to the second",
};

export function strategyWords(strategy: Schemas["Strategy"] | null | undefined): string {
  return STRATEGIES[strategy ?? "priority"];
}

export function branchName(branch: Branch): string {
  if (branch.policy) return `policy ${branch.policy}`;
  if (branch.provider) return `${branch.provider} / ${branch.model ?? "the same name"}`;
  return strategyWords(branch.strategy);
}

/** "only when model …": each condition that is set. */
export function whenWords(branch: Branch): string | null {
  const set = Object.entries(branch.when ?? {}).filter(
    ([, value]) => value !== null && value !== undefined && !(Array.isArray(value) && value.length === 0),
  );
  if (set.length === 0) return null;
  return set
    .map(
      ([name, value]) =>
        `${name.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : String(value)}`,
    )
    .join(", ");
}

export const FALLBACKS = {
  context_window: "where the input is too long",
  content_policy: "where the vendor refuses the content",
  budget: "where the budget is spent",
} as const;
