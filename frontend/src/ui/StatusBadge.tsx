/** A state in a word and a colour; the word alone says it as well. */
import { Badge } from "@mantine/core";

export type Tone = "good" | "bad" | "warn" | "calm" | "info";

const COLOURS: Record<Tone, [string, string]> = {
  good: ["var(--tk-good)", "var(--tk-good-paper)"],
  bad: ["var(--tk-bad)", "var(--tk-bad-paper)"],
  warn: ["var(--tk-warn)", "var(--tk-warn-paper)"],
  calm: ["var(--mantine-color-text)", "var(--tk-calm-paper)"],
  info: ["var(--tk-info)", "var(--tk-info-paper)"],
};

export function StatusBadge({ tone, children }: { tone: Tone; children: string }) {
  const [color, background] = COLOURS[tone];
  return (
    <Badge tt="none" radius="sm" style={{ color, background, fontWeight: 600, maxWidth: "none", flexShrink: 0 }}>
      {children}
    </Badge>
  );
}
