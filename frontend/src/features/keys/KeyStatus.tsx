import { Group } from "@mantine/core";
import { Moment } from "@/ui/Moment";
import { StatusBadge, type Tone } from "@/ui/StatusBadge";
import type { Key } from "./queries";

const TONES: Record<Key["status"], Tone> = { active: "good", revoked: "bad", expired: "calm" };

/** The state, and while a rotation lasts, until when the old secret works. */
export function KeyStatus({ of: key }: { of: Key }) {
  const inGrace = key.previous_expires_at !== null && new Date(key.previous_expires_at) > new Date();
  return (
    <Group gap={6}>
      <StatusBadge tone={TONES[key.status]}>{key.status}</StatusBadge>
      {inGrace && (
        <span>
          <StatusBadge tone="warn">rotating</StatusBadge> old secret ends{" "}
          <Moment at={key.previous_expires_at} relative />
        </span>
      )}
    </Group>
  );
}
