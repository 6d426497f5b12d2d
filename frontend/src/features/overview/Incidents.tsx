/** Targets that are not well now, in words; nothing where all are. */
import { Anchor, Group, Paper, Stack, Text, Title } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { $api } from "@/api/client";
import { Moment } from "@/ui/Moment";
import { StatusBadge } from "@/ui/StatusBadge";

const REFRESH_MS = 15_000;

export function Incidents() {
  const health = $api.useQuery("get", "/api/v1/router/health", {}, { refetchInterval: REFRESH_MS });
  const ill = health.data?.data.filter((target) => target.state !== "closed") ?? [];
  if (ill.length === 0) return null;
  return (
    <Paper withBorder p="md">
      <Title order={2} size="h5" mb="xs">
        Open incidents
      </Title>
      <Stack gap="xs">
        {ill.map((target) => (
          <Group key={`${target.provider} ${target.model} ${target.credential_id}`} gap="xs">
            <StatusBadge tone={target.state === "open" ? "bad" : "warn"}>{target.state}</StatusBadge>
            <Text size="sm" style={{ overflowWrap: "anywhere" }}>
              {target.provider} / {target.model}
              {target.why && `: ${target.why}`}
            </Text>
            {target.until && (
              <Text size="sm" c="var(--tk-faint)">
                next try <Moment at={target.until} relative />
              </Text>
            )}
          </Group>
        ))}
      </Stack>
      <Anchor component={Link} size="sm" underline="always" {...({ to: "/providers" } as object)}>
        Look at the providers
      </Anchor>
    </Paper>
  );
}
