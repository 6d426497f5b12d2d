/** The breakers of a provider: one for each model and credential, as the answering worker sees them. */
import { Button, Stack, Table, Text, Tooltip, VisuallyHidden } from "@mantine/core";
import { $api } from "@/api/client";
import { formatMs, formatShare, NONE } from "@/lib/format";
import { useMay } from "@/lib/session";
import { Moment } from "@/ui/Moment";
import { StatusBadge } from "@/ui/StatusBadge";
import { say } from "@/ui/say";
import { Failed } from "@/ui/states";
import { useCatalogChanged } from "./changes";
import { stateOf, type Target } from "./health";

export function TargetsTable({
  targets,
  credentialName,
}: {
  targets: Target[];
  credentialName: (id: string) => string;
}) {
  const may = useMay();
  const changed = useCatalogChanged();
  const reset = $api.useMutation("post", "/api/v1/router/breakers/reset", {
    onSuccess: () => {
      say("Every worker forgets what it held against it.");
      return changed();
    },
  });
  if (targets.length === 0) {
    return <Text size="sm">Nothing has been sent there by this worker yet, so nothing is known.</Text>;
  }
  return (
    <Stack gap="xs">
      {reset.error && <Failed error={reset.error} />}
      <Table.ScrollContainer minWidth={520}>
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Model</Table.Th>
              <Table.Th>State</Table.Th>
              <Table.Th ta="right">First token p50 / p95</Table.Th>
              <Table.Th ta="right">Failed</Table.Th>
              <Table.Th>Since</Table.Th>
              <Table.Th>
                <VisuallyHidden>Actions</VisuallyHidden>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {targets.map((target) => {
              const state = stateOf(target.state);
              return (
                <Table.Tr key={`${target.model} ${target.credential_id}`}>
                  <Table.Td style={{ overflowWrap: "anywhere" }}>
                    {target.model}
                    {target.credential_id !== null && (
                      <Text size="xs" c="var(--tk-faint)">
                        {credentialName(target.credential_id)}
                      </Text>
                    )}
                  </Table.Td>
                  <Table.Td>
                    <Tooltip label={target.why ?? state.means}>
                      <span>
                        <StatusBadge tone={state.tone}>{state.words}</StatusBadge>
                      </span>
                    </Tooltip>
                    {target.until !== null && (
                      <Text size="xs">
                        tried again <Moment at={target.until} relative />
                      </Text>
                    )}
                    {target.why !== null && (
                      <Text size="xs" c="var(--tk-faint)">
                        {target.why}
                      </Text>
                    )}
                  </Table.Td>
                  <Table.Td ta="right">
                    {formatMs(target.latency_ms_p50)} / {formatMs(target.latency_ms_p95)}
                  </Table.Td>
                  <Table.Td ta="right">
                    {target.error_share === null ? NONE : formatShare(target.error_share, 1)}
                  </Table.Td>
                  <Table.Td>
                    <Moment at={target.since} relative />
                  </Table.Td>
                  <Table.Td>
                    {may("router:update") && target.state !== "closed" && (
                      <Button
                        size="compact-xs"
                        variant="default"
                        loading={reset.isPending}
                        onClick={() =>
                          reset.mutate({
                            body: {
                              provider: target.provider,
                              model: target.model,
                              ...(target.credential_id !== null && { credential_id: target.credential_id }),
                            },
                          })
                        }
                      >
                        Reset
                      </Button>
                    )}
                  </Table.Td>
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Stack>
  );
}
