/** A button that copies, and what is copied: ids, secrets, commands. */
import { ActionIcon, Box, Button, Code, CopyButton, Group, Text, Tooltip } from "@mantine/core";
import { Check, Copy as CopyIcon } from "lucide-react";

export function CopyIconButton({ value, what }: { value: string; what: string }) {
  return (
    <CopyButton value={value} timeout={2000}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? "Copied" : `Copy ${what}`}>
          <ActionIcon aria-label={copied ? "Copied" : `Copy ${what}`} onClick={copy} color="gray" size="sm">
            {copied ? <Check size={14} aria-hidden /> : <CopyIcon size={14} aria-hidden />}
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}

/** An id in full, in the letters of a terminal, beside its copy button. */
export function CopyableId({ value, what = "id" }: { value: string; what?: string }) {
  return (
    <Group gap={4} wrap="nowrap" style={{ minWidth: 0 }}>
      <Text span ff="monospace" size="sm" style={{ overflowWrap: "anywhere" }}>
        {value}
      </Text>
      <CopyIconButton value={value} what={what} />
    </Group>
  );
}

export function CodeBlock({ code, what = "code" }: { code: string; what?: string }) {
  return (
    <Box pos="relative">
      <Code block tabIndex={0} pr={48} style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
        {code}
      </Code>
      <Box pos="absolute" top={6} right={6}>
        <CopyIconButton value={code} what={what} />
      </Box>
    </Box>
  );
}

export function CopyButtonWide({ value, children }: { value: string; children: string }) {
  return (
    <CopyButton value={value} timeout={2000}>
      {({ copied, copy }) => (
        <Button
          onClick={copy}
          leftSection={copied ? <Check size={16} aria-hidden /> : <CopyIcon size={16} aria-hidden />}
        >
          {copied ? "Copied" : children}
        </Button>
      )}
    </CopyButton>
  );
}
