/** What a developer needs: the one line to change, their keys, their last calls. */
import { Anchor, Button, Group, Paper, SimpleGrid, Stack, Table, Tabs, Text, Title } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { $api } from "@/api/client";
import { formatCount, formatMs, formatUsd } from "@/lib/format";
import { useMay, useSession } from "@/lib/session";
import { SNIPPETS, snippetOf } from "@/lib/snippets";
import { CodeBlock } from "@/ui/Copy";
import { Moment } from "@/ui/Moment";
import { PageHeader } from "@/ui/PageHeader";
import { StatusBadge } from "@/ui/StatusBadge";
import { Failed, Loading } from "@/ui/states";
import { Tile } from "@/ui/Tile";

const LAST_CALLS = 8;

export function DeveloperHome() {
  const { base_url, user } = useSession();
  const may = useMay();
  const me = $api.useQuery("get", "/api/v1/me");
  const calls = $api.useQuery(
    "get",
    "/api/v1/requests",
    { params: { query: { limit: LAST_CALLS } } },
    { enabled: may("requests:view") },
  );
  const keys = me.data?.keys.filter((key) => key.status === "active") ?? [];
  return (
    <>
      <PageHeader title="Overview">Your work here, {user.name}.</PageHeader>
      <Stack gap="lg">
        <Paper withBorder p="md">
          <Title order={2} size="h5" mb="xs">
            Your applications change one line
          </Title>
          <Tabs defaultValue={SNIPPETS[1]}>
            <Tabs.List>
              {SNIPPETS.map((kind) => (
                <Tabs.Tab key={kind} value={kind}>
                  {kind}
                </Tabs.Tab>
              ))}
            </Tabs.List>
            {SNIPPETS.map((kind) => (
              <Tabs.Panel key={kind} value={kind} pt="sm">
                <CodeBlock
                  code={snippetOf(kind, base_url, keys[0] ? `${keys[0].display_prefix}…` : "tk-…", "simulated")}
                />
              </Tabs.Panel>
            ))}
          </Tabs>
        </Paper>
        {me.error ? <Failed error={me.error} onRetry={() => void me.refetch()} /> : null}
        <SimpleGrid cols={{ base: 1, xs: 3 }}>
          <Tile name="Your calls this month" value={me.data && formatCount(me.data.usage.requests)} to="/requests" />
          <Tile name="Your spend this month" value={me.data && formatUsd(me.data.usage.cost_usd)} />
          <Tile name="Your keys" value={me.data && formatCount(keys.length)} to="/keys" />
        </SimpleGrid>
        {me.data && keys.length === 0 && (
          <Group>
            <Button component={Link} to="/keys">
              Create your first key
            </Button>
          </Group>
        )}
        {may("requests:view") && (
          <Paper withBorder p="md">
            <Title order={2} size="h5" mb="xs">
              Your last calls
            </Title>
            {calls.error ? (
              <Failed error={calls.error} onRetry={() => void calls.refetch()} />
            ) : !calls.data ? (
              <Loading rows={4} />
            ) : calls.data.data.length === 0 ? (
              <Text size="sm" c="var(--tk-faint)">
                None in the last days.
              </Text>
            ) : (
              <Table>
                <Table.Tbody>
                  {calls.data.data.map((call) => (
                    <Table.Tr key={call.request_id}>
                      <Table.Td>
                        <Anchor
                          component={Link}
                          inherit
                          underline="always"
                          {...({ to: "/requests", search: { open: call.request_id } } as object)}
                        >
                          <Moment at={call.created_at} relative />
                        </Anchor>
                      </Table.Td>
                      <Table.Td style={{ overflowWrap: "anywhere" }}>{call.model}</Table.Td>
                      <Table.Td>
                        <StatusBadge tone={call.status === "error" ? "bad" : "calm"}>{call.status}</StatusBadge>
                      </Table.Td>
                      <Table.Td ta="right">{formatMs(call.latency_ms)}</Table.Td>
                      <Table.Td ta="right">{formatUsd(call.cost_usd)}</Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            )}
          </Paper>
        )}
      </Stack>
    </>
  );
}
