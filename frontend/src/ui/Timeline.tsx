/** Steps in their order, each with its verdict and, where it is known, how long it took. */
import { Group, Text } from "@mantine/core";
import { formatMs } from "@/lib/format";
import { StatusBadge, type Tone } from "./StatusBadge";
import classes from "./Timeline.module.css";

export interface TimelineStep {
  what: string;
  verdict: string;
  tone: Tone;
  detail?: string;
  ms?: number | null;
}

export function Timeline({ steps }: { steps: TimelineStep[] }) {
  const longest = Math.max(1, ...steps.map((step) => step.ms ?? 0));
  return (
    <ol className={classes.steps}>
      {steps.map((step) => (
        <li key={step.what} className={classes.step} data-tone={step.tone}>
          <Group justify="space-between" gap="xs" wrap="nowrap" align="flex-start">
            <Group gap="xs">
              <Text size="sm" fw={600} style={{ overflowWrap: "anywhere" }}>
                {step.what}
              </Text>
              <StatusBadge tone={step.tone}>{step.verdict}</StatusBadge>
            </Group>
            {step.ms !== undefined && step.ms !== null && (
              <Text size="sm" ff="monospace" style={{ whiteSpace: "nowrap" }}>
                {formatMs(step.ms)}
              </Text>
            )}
          </Group>
          {step.detail && (
            <Text size="xs" c="var(--tk-faint)" style={{ overflowWrap: "anywhere" }}>
              {step.detail}
            </Text>
          )}
          {step.ms ? (
            <div className={classes.bar} style={{ width: `${(100 * step.ms) / longest}%` }} aria-hidden />
          ) : null}
        </li>
      ))}
    </ol>
  );
}
