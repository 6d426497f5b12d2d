/** From a day to a day, both inside, as days begin for the reader. */
import "@mantine/dates/styles.css";
import { DatePickerInput } from "@mantine/dates";

const DAY_MS = 86_400_000;

function dayOf(moment: string | undefined): string | null {
  if (moment === undefined) return null;
  const local = new Date(moment);
  const two = (number: number) => String(number).padStart(2, "0");
  return `${local.getFullYear()}-${two(local.getMonth() + 1)}-${two(local.getDate())}`;
}

function startOf(day: string): Date {
  return new Date(`${day}T00:00:00`);
}

export function CustomRange({
  since,
  until,
  onChange,
}: {
  since: string;
  until: string | undefined;
  onChange: (since: string, until: string | null) => void;
}) {
  const last = until === undefined ? undefined : new Date(new Date(until).getTime() - DAY_MS / 2).toISOString();
  return (
    <DatePickerInput
      type="range"
      label="Dates"
      size="xs"
      w={230}
      allowSingleDateInRange
      valueFormat="YYYY-MM-DD"
      value={[dayOf(since), dayOf(last)]}
      onChange={([first, end]) => {
        if (!first) return;
        // Over a change of the clock a day is not 24 hours: the day after is found by noon.
        const after = end ? dayOf(new Date(startOf(end).getTime() + 1.5 * DAY_MS).toISOString()) : null;
        onChange(startOf(first).toISOString(), after ? startOf(after).toISOString() : null);
      }}
    />
  );
}
