/** A text cut where something was found in it. Offsets come in characters, where JavaScript counts UTF-16 units. */
import type { Schemas } from "@/api/client";
import type { Tone } from "@/ui/StatusBadge";

export type Finding = Schemas["GuardrailFinding"];

export interface Piece {
  text: string;
  /** What was found here; of several the strictest first. */
  findings: Finding[];
}

const STRICTNESS: Finding["action"][] = ["block", "redact_reversibly", "redact", "flag"];

export function piecesOf(text: string, findings: Finding[]): Piece[] {
  const characters = [...text];
  const borders = new Set([0, characters.length]);
  for (const { start, end } of findings) {
    borders.add(Math.max(0, Math.min(start, characters.length)));
    borders.add(Math.max(0, Math.min(end, characters.length)));
  }
  const sorted = [...borders].sort((one, other) => one - other);
  return sorted.slice(0, -1).map((from, index) => {
    const to = sorted[index + 1] ?? from;
    const here = findings
      .filter(({ start, end }) => start <= from && end >= to)
      .sort((one, other) => STRICTNESS.indexOf(one.action) - STRICTNESS.indexOf(other.action));
    return { text: characters.slice(from, to).join(""), findings: here };
  });
}

export function toneOf(action: Finding["action"] | "allow", isMonitored = false): Tone {
  if (isMonitored) return "calm";
  return ({ block: "bad", redact: "warn", redact_reversibly: "warn", flag: "info", allow: "good" } as const)[action];
}

export function actionWords(action: Finding["action"] | "allow"): string {
  return {
    block: "blocked",
    redact: "masked",
    redact_reversibly: "masked, put back",
    flag: "flagged",
    allow: "let through",
  }[action];
}
