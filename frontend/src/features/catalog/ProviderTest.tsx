/** One question to the provider with each of its credentials; nothing is billed for it. */
import { Button, Group, Stack, Table, Text } from "@mantine/core";
import { $api } from "@/api/client";
import { formatCount, formatMs } from "@/lib/format";
import { StatusBadge } from "@/ui/StatusBadge";
import { Failed } from "@/ui/states";

export function ProviderTest({ id, credentialName }: { id: string; credentialName: (id: string) => string }) {
  const test = $api.useMutation("post", "/api/v1/catalog/providers/{provider_id}/test");
  return (
    <Stack gap="xs">
      <Group>
        <Button
          variant="default"
          loading={test.isPending}
          onClick={() => test.mutate({ params: { path: { provider_id: id } } })}
        >
          Test it now
        </Button>
        <Text size="xs" c="var(--tk-faint)">
          Asks for its list of models with each credential.
        </Text>
      </Group>
      {test.error && <Failed error={test.error} />}
      {test.data && (
        <Table aria-label="What the test brought">
          <Table.Tbody>
            {test.data.credentials.map((result) => (
              <Table.Tr key={result.id ?? "none"}>
                <Table.Td>{result.id === null ? "without a credential" : credentialName(result.id)}</Table.Td>
                <Table.Td>
                  <StatusBadge tone={result.ok ? "good" : "bad"}>{result.ok ? "works" : "fails"}</StatusBadge>
                </Table.Td>
                <Table.Td style={{ overflowWrap: "anywhere" }}>{result.message}</Table.Td>
                <Table.Td ta="right">{formatMs(result.latency_ms)}</Table.Td>
                <Table.Td ta="right">{result.models === null ? "" : `${formatCount(result.models)} models`}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </Stack>
  );
}
