/** A point in time: in the reader's zone with its name, relative beside it or in its place. */
import { Text, Tooltip } from "@mantine/core";
import { formatMoment, formatRelative, NONE, zoneName } from "@/lib/format";
import { useZone } from "@/lib/zone";

export function Moment({ at, relative = false }: { at: string | null | undefined; relative?: boolean }) {
  const { zone } = useZone();
  if (!at) return <span>{NONE}</span>;
  const moment = new Date(at);
  const full = `${formatMoment(moment, zone)} ${zoneName(zone)}`;
  return (
    <Tooltip label={relative ? full : formatRelative(moment, new Date())} openDelay={300}>
      <Text span inherit style={{ whiteSpace: "nowrap" }}>
        <time dateTime={at} title={full}>
          {relative ? formatRelative(moment, new Date()) : formatMoment(moment, zone)}
        </time>
      </Text>
    </Tooltip>
  );
}
