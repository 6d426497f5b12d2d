/** One figure of an overview: its name, its value, how it was before, its shape. The whole of it may be a link. */
import { Paper, Skeleton, Text, UnstyledButton } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { Search } from "@/lib/urlState";
import { Sparkline } from "./Sparkline";

export function Tile({
  name,
  value,
  note,
  series,
  to,
  search,
}: {
  name: string;
  /** Undefined while it is asked for. */
  value: string | undefined;
  note?: string;
  series?: number[];
  to?: string;
  search?: Search;
}) {
  const content = (
    <Paper withBorder p="md" h="100%">
      <Text size="sm" c="var(--tk-faint)">
        {name}
      </Text>
      {value === undefined ? (
        <Skeleton height={30} width="60%" my={4} />
      ) : (
        <Text size="xl" fw={650} style={{ fontVariantNumeric: "tabular-nums", overflowWrap: "anywhere" }}>
          {value}
        </Text>
      )}
      <Text size="xs" c="var(--tk-faint)" mih={18}>
        {note}
      </Text>
      {series && <Sparkline values={series} label={`${name} over the range`} />}
    </Paper>
  );
  if (to === undefined) return content;
  return (
    <UnstyledButton
      component={Link}
      h="100%"
      {...({ to, search } as object)}
      aria-label={`${name}: ${value ?? "loading"}. Look closer`}
    >
      {content}
    </UnstyledButton>
  );
}
