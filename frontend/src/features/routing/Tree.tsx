/** Branches drawn as nested lists, the way a call takes them: read by eye and by a screen reader alike. */
import { Badge, Group, Paper, Stack, Text } from "@mantine/core";
import { type Branch, branchName, strategyWords, whenWords } from "./branches";

export function Tree({ branches, strategy }: { branches: Branch[]; strategy: Branch["strategy"] }) {
  const total = branches.reduce((sum, branch) => sum + (branch.weight ?? 1), 0);
  const isWeighted = strategy === "weighted" || strategy === "sticky";
  return (
    <Stack component="ol" gap="xs" style={{ listStyle: "none", padding: 0, margin: 0 }}>
      {branches.map((branch, index) => {
        const when = whenWords(branch);
        const inner = branch.branches ?? [];
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: the order of branches is what they are
          <Paper component="li" withBorder p="sm" key={index}>
            <Group gap="xs">
              <Badge variant="default" tt="none">
                {isWeighted ? `${Math.round((100 * (branch.weight ?? 1)) / total)} %` : index + 1}
              </Badge>
              <Text size="sm" fw={600} style={{ overflowWrap: "anywhere" }}>
                {branchName(branch)}
              </Text>
            </Group>
            {when !== null && (
              <Text size="xs" c="var(--tk-faint)" mt={4}>
                only when: {when}
              </Text>
            )}
            {branch.canary && (
              <Text size="xs" c="var(--tk-faint)" mt={4}>
                canary of {branch.canary.share}; rolled back above {branch.canary.most_errors ?? "its share of"} errors
              </Text>
            )}
            {inner.length > 0 && (
              <Stack gap="xs" mt="xs" ml="md">
                <Text size="xs" c="var(--tk-faint)">
                  {strategyWords(branch.strategy)}
                </Text>
                <Tree branches={inner} strategy={branch.strategy} />
              </Stack>
            )}
          </Paper>
        );
      })}
    </Stack>
  );
}
