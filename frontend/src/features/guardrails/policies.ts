/** A policy as a form and in words. Its rules are edited as the JSON the API takes. */
import { useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import type { Schemas } from "@/api/client";

export type Policy = Schemas["GuardrailPolicyOut"];
type Fields = Required<Pick<Schemas["GuardrailPolicyUpdate"], "mode" | "when" | "rules">> & {
  starter: Policy["starter"];
  message: string | null;
  keeps_text: boolean;
};

export const STARTERS = ["baseline", "strict-pii", "finance", "health", "developer"] as const;

export interface PolicyForm {
  name: string;
  description: string;
  starter: (typeof STARTERS)[number] | "";
  mode: "enforce" | "monitor";
  when: "before" | "during";
  message: string;
  keeps_text: boolean;
  rules: string;
}

export const NEW_POLICY: PolicyForm = {
  name: "",
  description: "",
  starter: "baseline",
  mode: "monitor",
  when: "before",
  message: "",
  keeps_text: false,
  rules: "[]",
};

export function formOf(policy: Policy): PolicyForm {
  return {
    name: policy.name,
    description: policy.description,
    starter: policy.starter ?? "",
    mode: policy.mode ?? "enforce",
    when: policy.when ?? "before",
    message: policy.message ?? "",
    keeps_text: policy.keeps_text ?? false,
    rules: JSON.stringify(policy.rules ?? [], null, 2),
  };
}

/** Why the text is no list of rules; null where it is. What the rules themselves say is the server's to judge. */
export function rulesFault(text: string): string | null {
  try {
    return Array.isArray(JSON.parse(text)) ? null : "A list: [ … ]";
  } catch (error) {
    return error instanceof SyntaxError ? error.message : "This is no JSON.";
  }
}

export function bodyOf(form: PolicyForm): Fields {
  return {
    starter: form.starter === "" ? null : form.starter,
    mode: form.mode,
    when: form.when,
    message: form.message.trim() || null,
    keeps_text: form.keeps_text,
    rules: JSON.parse(form.rules) as Fields["rules"],
  };
}

/** "baseline and 2 rules, only told". */
export function policyWords(policy: Pick<Policy, "starter" | "rules" | "mode">): string {
  const count = policy.rules?.length ?? 0;
  const own = count === 0 ? "" : `${count} ${count === 1 ? "rule" : "rules"}`;
  return [policy.starter, own].filter(Boolean).join(" and ") || "no rule";
}

export function usePoliciesChanged(): () => Promise<void> {
  const queries = useQueryClient();
  return useCallback(
    () =>
      queries.invalidateQueries({ predicate: ({ queryKey }) => String(queryKey[1]).startsWith("/api/v1/guardrail") }),
    [queries],
  );
}
