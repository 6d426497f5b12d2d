/** One record: who did what to which thing, from where, and what it changed. */
import { Button, Group, Stack, Table, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { Schemas } from "@/api/client";
import { NONE } from "@/lib/format";
import { CopyableId } from "@/ui/Copy";
import { DetailDrawer } from "@/ui/DetailDrawer";
import { Facts } from "@/ui/Facts";
import { Moment } from "@/ui/Moment";
import { StatusBadge } from "@/ui/StatusBadge";
import { changesOf } from "./diff";

export type Entry = Schemas["AuditView"];

export function OutcomeBadge({ of: { outcome } }: { of: Entry }) {
  return <StatusBadge tone={outcome === "success" ? "good" : "bad"}>{outcome}</StatusBadge>;
}

export function AuditDrawer({
  of: entry,
  neighbours,
  onClose,
}: {
  of: Entry;
  neighbours: string[];
  onClose: () => void;
}) {
  const overview = (
    <Stack>
      <Facts
        facts={[
          ["When", <Moment key="when" at={entry.created_at} />],
          ["Who", `${entry.actor.name || entry.actor.id} (${entry.actor.type})`],
          ["Did", <code key="did">{entry.action}</code>],
          ["To", entry.object_type],
          ["Its id", <CopyableId key="object" value={entry.object_id} what="object id" />],
          ["Ended", <OutcomeBadge key="outcome" of={entry} />],
          ["From", entry.address],
          ["Request", entry.request_id && <CopyableId key="request" value={entry.request_id} what="request id" />],
          ["Number in the chain", entry.sequence],
          ["Hash", <code key="hash">{entry.hash}</code>],
        ]}
      />
      <Group>
        <Button
          variant="default"
          component={Link}
          {...({ to: "/audit", search: { object: entry.object_id } } as object)}
        >
          All about this {entry.object_type.replaceAll("_", " ")}
        </Button>
        <Button variant="default" component={Link} {...({ to: "/audit", search: { actor: entry.actor.id } } as object)}>
          All by them
        </Button>
      </Group>
    </Stack>
  );
  return (
    <DetailDrawer
      id={entry.id}
      idLabel="record id"
      title={entry.action}
      badge={<OutcomeBadge of={entry} />}
      tabs={[
        { value: "overview", label: "Overview", content: overview },
        { value: "changes", label: "Changes", content: <Changes of={entry} /> },
      ]}
      call={{ method: "GET", path: `/api/v1/audit?object_id=${encodeURIComponent(entry.object_id)}` }}
      neighbours={neighbours}
      onClose={onClose}
    />
  );
}

function Changes({ of: entry }: { of: Entry }) {
  const changes = changesOf(entry.before, entry.after);
  if (changes.length === 0) return <Text size="sm">Nothing of its state was changed, or none of it is kept.</Text>;
  const cell = (text: string | null, tone: "bad" | "good") =>
    text === null ? (
      NONE
    ) : (
      <code
        style={{
          background: `var(--tk-${tone}-paper)`,
          color: `var(--tk-${tone})`,
          overflowWrap: "anywhere",
          whiteSpace: "pre-wrap",
        }}
      >
        {text}
      </code>
    );
  return (
    <Table>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Field</Table.Th>
          <Table.Th>Before</Table.Th>
          <Table.Th>After</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {changes.map(({ field, before, after }) => (
          <Table.Tr key={field}>
            <Table.Td>{field.replaceAll("_", " ")}</Table.Td>
            <Table.Td>{cell(before, "bad")}</Table.Td>
            <Table.Td>{cell(after, "good")}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
