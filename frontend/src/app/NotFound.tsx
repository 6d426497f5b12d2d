import { Anchor, Center, Stack, Text, Title } from "@mantine/core";
import { Link } from "@tanstack/react-router";

export function NotFound() {
  return (
    <Center py="xl">
      <Stack align="center" gap="xs">
        <Title order={1} size="h3">
          There is nothing here
        </Title>
        <Text size="sm" c="var(--tk-faint)">
          The address may be old, or mistyped.
        </Text>
        <Anchor component={Link} to="/" underline="always">
          To the start
        </Anchor>
      </Stack>
    </Center>
  );
}
