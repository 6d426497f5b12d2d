/** How much of a budget is gone: a bar with its warn marks, and the same in words. */
import { Group, Progress, Text } from "@mantine/core";
import type { Schemas } from "@/api/client";
import { chartNumber, formatUsd } from "@/lib/format";
import { StatusBadge, type Tone } from "@/ui/StatusBadge";

type Status = Schemas["BudgetStatus"];

/** For the length of a bar; green below 80 %, red once it is spent. */
export function shareOf(status: Status): number {
  const amount = chartNumber(status.amount_usd);
  return amount > 0 ? (100 * chartNumber(status.spent_usd)) / amount : 100;
}

export function toneOf(share: number): Tone {
  if (share >= 100) return "bad";
  return share >= 80 ? "warn" : "good";
}

const COLOUR = { good: "green", warn: "yellow", bad: "red", calm: "gray", info: "blue" } as const;

export function BudgetBar({ status, withWords = true }: { status: Status; withWords?: boolean }) {
  const share = shareOf(status);
  const held =
    chartNumber(status.amount_usd) > 0 ? (100 * chartNumber(status.held_usd)) / chartNumber(status.amount_usd) : 0;
  const words = `${formatUsd(status.spent_usd)} of ${formatUsd(status.amount_usd)}`;
  return (
    <div style={{ minWidth: 160 }}>
      <Progress.Root size="md" aria-label={`Spent: ${words}`}>
        <Progress.Section value={Math.min(share, 100)} color={COLOUR[toneOf(share)]} aria-label={`Spent: ${words}`} />
        <Progress.Section
          value={Math.max(0, Math.min(held, 100 - share))}
          color="gray"
          striped
          aria-label={`Held: ${formatUsd(status.held_usd)}`}
        />
      </Progress.Root>
      {withWords && (
        <Group gap="xs" mt={4}>
          <Text size="xs">{words}</Text>
          {!status.is_live && <StatusBadge tone="warn">as the ledger has it</StatusBadge>}
        </Group>
      )}
    </div>
  );
}
