/** A secret that is shown once. It lives in this component's props alone and leaves with it; nothing stores it. */
import { Alert, Group, Stack, Text } from "@mantine/core";
import { KeyRound } from "lucide-react";
import { CopyButtonWide } from "./Copy";

export function SecretReveal({ secret, what = "secret" }: { secret: string; what?: string }) {
  return (
    <Alert
      color="yellow"
      variant="light"
      icon={<KeyRound size={18} aria-hidden />}
      title={`This ${what} is shown now and never again`}
      styles={{
        root: { background: "var(--tk-warn-paper)" },
        title: { color: "var(--tk-warn)" },
        message: { color: "var(--mantine-color-text)" },
      }}
    >
      <Stack gap="sm">
        <Text ff="monospace" size="sm" style={{ overflowWrap: "anywhere" }} data-testid="secret">
          {secret}
        </Text>
        <Group>
          <CopyButtonWide value={secret}>{`Copy the ${what}`}</CopyButtonWide>
        </Group>
      </Stack>
    </Alert>
  );
}
