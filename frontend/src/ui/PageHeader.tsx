/** The head of every page: its name, a sentence, what can be done. Sets the title of the tab as well. */
import { Group, Stack, Text, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import type { ReactNode } from "react";

export function PageHeader({ title, children, actions }: { title: string; children?: ReactNode; actions?: ReactNode }) {
  useDocumentTitle(`${title} · Tollkeeper`);
  return (
    <Group justify="space-between" align="flex-start" mb="md" gap="sm">
      <Stack gap={2} style={{ flex: 1, minWidth: 220 }}>
        <Title order={1} size="h2">
          {title}
        </Title>
        {children && (
          <Text size="sm" c="var(--tk-faint)">
            {children}
          </Text>
        )}
      </Stack>
      {actions && <Group gap="xs">{actions}</Group>}
    </Group>
  );
}
