/** The versions of a policy, newest first: which is in force, which may be published, which gone back to. */
import { Button, Stack, Table } from "@mantine/core";
import { Moment } from "./Moment";
import { StatusBadge } from "./StatusBadge";
import { Failed, Loading } from "./states";

interface Version {
  number: number;
  is_published: boolean;
  created_at: string;
  published_at: string | null;
}

export function Versions<One extends Version>({
  query,
  words,
  draft,
  isOurs,
  failed,
  isBusy,
  onPublish,
  onRollBack,
}: {
  query: { data: { data: One[] } | undefined; error: unknown; refetch: () => unknown };
  /** What a version says, in a few words. */
  words: (version: One) => string;
  /** The number of the one that would be published. */
  draft: number | null;
  isOurs: boolean;
  failed: unknown;
  isBusy: boolean;
  onPublish: () => void;
  onRollBack: (number: number) => void;
}) {
  if (query.error) return <Failed error={query.error} onRetry={() => void query.refetch()} />;
  if (!query.data) return <Loading />;
  return (
    <Stack>
      {failed != null && <Failed error={failed} />}
      <Table>
        <Table.Tbody>
          {query.data.data.map((version) => (
            <Table.Tr key={version.number}>
              <Table.Td>
                Version {version.number} {version.is_published && <StatusBadge tone="good">in force</StatusBadge>}
              </Table.Td>
              <Table.Td>{words(version)}</Table.Td>
              <Table.Td>
                <Moment at={version.published_at ?? version.created_at} relative />
              </Table.Td>
              <Table.Td>
                {isOurs && version.number === draft && (
                  <Button size="compact-xs" loading={isBusy} onClick={onPublish}>
                    Publish
                  </Button>
                )}
                {isOurs && version.published_at !== null && !version.is_published && (
                  <Button
                    size="compact-xs"
                    variant="default"
                    loading={isBusy}
                    onClick={() => onRollBack(version.number)}
                  >
                    Roll back to it
                  </Button>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Stack>
  );
}
