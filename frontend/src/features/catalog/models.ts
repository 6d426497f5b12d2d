/** A model in words, and the form that makes one. */
import { z } from "zod/mini";
import type { Schemas } from "@/api/client";

type Model = Schemas["ModelOut"];

export function leadsTo(model: Pick<Model, "policy" | "targets">): string {
  if (model.policy) return `policy ${model.policy}`;
  const [first, ...rest] = model.targets;
  if (!first) return "nowhere";
  const more = rest.length > 0 ? `, then ${rest.length} more` : "";
  return `${first.provider} / ${first.model}${more}`;
}

const PRICE = /^(\d{1,7}(\.\d{1,9})?)?$/;
const price = z.string().check(z.trim(), z.regex(PRICE, "Dollars, such as 2.50."));

export const modelForm = z
  .object({
    name: z.string().check(z.trim(), z.minLength(1, "What do callers ask for?"), z.maxLength(200)),
    /** `provider/model`, in the order they are tried. */
    targets: z.array(z.string().check(z.regex(/^[^/\s]+\/\S+$/, "Written provider/model."))),
    input: price,
    output: price,
  })
  .check(
    z.refine(({ targets }) => targets.length > 0, { error: "Where does it lead?", path: ["targets"] }),
    z.refine(({ input, output }) => (input.trim() === "") === (output.trim() === ""), {
      error: "A price has both.",
      path: ["output"],
    }),
  );
export type ModelForm = z.infer<typeof modelForm>;

export function createBody({ name, targets, input, output }: ModelForm): Schemas["ModelCreate"] {
  return {
    name: name.trim(),
    targets: targets.map((text) => {
      const border = text.indexOf("/");
      return { provider: text.slice(0, border), model: text.slice(border + 1) };
    }),
    ...(input.trim() && { price: { input_per_million: input.trim(), output_per_million: output.trim() } }),
  };
}

/** The rates of a price that are set, as they are called. */
export function ratesOf(rates: Record<string, unknown>): [string, string][] {
  return Object.entries(rates)
    .filter(([name, value]) => (name.includes("per_") || name.endsWith("_per_million")) && typeof value === "string")
    .map(([name, value]) => [name.replaceAll("_", " "), value as string]);
}
