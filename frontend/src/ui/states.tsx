/** The four states every page has beside its content: loading, empty, failed, forbidden. */
import { Alert, Anchor, Button, Center, Group, Skeleton, Stack, Text, ThemeIcon, Title } from "@mantine/core";
import { CircleAlert, Inbox, Lock } from "lucide-react";
import type { ReactNode } from "react";
import { Problem } from "@/api/problem";
import type { ApiCall } from "@/lib/snippets";
import { CopyableId } from "./Copy";
import { Curl } from "./Curl";

/** Skeletons, never spinners. */
export function Loading({ rows = 6, what = "Loading" }: { rows?: number; what?: string }) {
  return (
    <Stack gap="sm" role="status" aria-label={what} aria-busy>
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: rows that are all alike
        <Skeleton key={row} height={28} radius="sm" width={`${100 - ((row * 7) % 30)}%`} />
      ))}
    </Stack>
  );
}

/** One sentence, the command that changes it, and where to read on. */
export function Empty({
  title,
  children,
  call,
  docs,
  action,
}: {
  title: string;
  children?: ReactNode;
  call?: ApiCall;
  docs?: { href: string; label: string };
  action?: ReactNode;
}) {
  return (
    <Stack align="center" gap="sm" py="xl" px="md">
      <ThemeIcon variant="light" color="gray" size={48} radius="xl">
        <Inbox size={24} aria-hidden />
      </ThemeIcon>
      <Text fw={600}>{title}</Text>
      {children && (
        <Text size="sm" c="var(--tk-faint)" ta="center" maw={560}>
          {children}
        </Text>
      )}
      {action}
      {call && (
        <div style={{ width: "100%", maxWidth: 640 }}>
          <Curl call={call} />
        </div>
      )}
      {docs && (
        <Anchor href={docs.href} size="sm" underline="always">
          {docs.label}
        </Anchor>
      )}
    </Stack>
  );
}

export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(0, { detail: error instanceof Error ? error.message : "Something went wrong." }, null);
}

/** What happened, its request id, and a way on. A 403 is not a fault but an answer of its own. */
export function Failed({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const problem = problemOf(error);
  if (problem.isForbidden) return <Forbidden>{problem.message}</Forbidden>;
  return (
    <Alert
      role="alert"
      color="red"
      variant="light"
      title={problem.isNotFound ? "There is nothing here" : "That did not work"}
      icon={<CircleAlert size={18} aria-hidden />}
      styles={{
        root: { background: "var(--tk-bad-paper)" },
        title: { color: "var(--tk-bad)" },
        message: { color: "var(--mantine-color-text)" },
      }}
    >
      <Stack gap="xs" align="flex-start">
        <Text size="sm" style={{ overflowWrap: "anywhere" }}>
          {problem.message}
        </Text>
        {problem.requestId && (
          <Group gap={6}>
            <Text size="xs">Request id:</Text>
            <CopyableId value={problem.requestId} what="request id" />
          </Group>
        )}
        {onRetry && (
          <Button size="xs" variant="default" onClick={onRetry}>
            Try again
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

export function Forbidden({ children }: { children?: ReactNode }) {
  return (
    <Center py="xl">
      <Stack align="center" gap="sm">
        <ThemeIcon variant="light" color="gray" size={48} radius="xl">
          <Lock size={24} aria-hidden />
        </ThemeIcon>
        <Title order={2} size="h4">
          This is not yours to see
        </Title>
        <Text size="sm" c="var(--tk-faint)" ta="center" maw={560}>
          {children ?? "Your role does not grant it. Ask an administrator of your organisation."}
        </Text>
      </Stack>
    </Center>
  );
}
