/** What is left to set up, until it is done; nothing is asked that the reader may not see. */
import { Anchor, Group, List, Paper, Text, ThemeIcon, Title } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { Check, Circle } from "lucide-react";
import { $api } from "@/api/client";
import { useMay } from "@/lib/session";

export function Checklist() {
  const may = useMay();
  const isOurs = may("catalog:update");
  const options = { enabled: isOurs, staleTime: 60_000 };
  const one = { params: { query: { limit: 2 } } };
  const providers = $api.useQuery("get", "/api/v1/catalog/providers", { params: { query: { limit: 100 } } }, options);
  const keys = $api.useQuery("get", "/api/v1/keys", one, options);
  const budgets = $api.useQuery("get", "/api/v1/budgets", one, options);
  const calls = $api.useQuery("get", "/api/v1/requests", one, options);
  if (!isOurs || !providers.data || !keys.data || !budgets.data || !calls.data) return null;
  const steps: [boolean, string, string][] = [
    [
      providers.data.data.some((provider) => provider.kind !== "simulated"),
      "Name a provider: until then simulated models answer",
      "/providers",
    ],
    [keys.data.data.length > 1, "Make a key for your first application", "/keys"],
    [calls.data.data.length > 0, "Make a call", "/requests"],
    [budgets.data.data.length > 0, "Set a budget", "/budgets"],
  ];
  if (steps.every(([isDone]) => isDone)) return null;
  return (
    <Paper withBorder p="md">
      <Title order={2} size="h5" mb="xs">
        To set up
      </Title>
      <List spacing={4} listStyleType="none">
        {steps.map(([isDone, what, to]) => (
          <List.Item key={what}>
            <Group gap="xs" wrap="nowrap">
              <ThemeIcon size={20} radius="xl" variant="light" color={isDone ? "green" : "gray"}>
                {isDone ? <Check size={12} aria-hidden /> : <Circle size={10} aria-hidden />}
              </ThemeIcon>
              {isDone ? (
                <Text size="sm" c="var(--tk-faint)">
                  {what} (done)
                </Text>
              ) : (
                <Anchor component={Link} size="sm" underline="always" {...({ to } as object)}>
                  {what}
                </Anchor>
              )}
            </Group>
          </List.Item>
        ))}
      </List>
    </Paper>
  );
}
