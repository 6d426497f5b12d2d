/** Chooses the time range of a page; it stands in the URL. */
import { Select } from "@mantine/core";
import { RANGES, useRange } from "@/lib/range";
import { useUrlState } from "@/lib/urlState";

export function RangePicker({ fallback = "24h" }: { fallback?: (typeof RANGES)[number]["value"] }) {
  const [, setUrl] = useUrlState();
  const range = useRange(fallback);
  const choices: { value: string; label: string }[] = RANGES.map(({ value, label }) => ({
    value,
    label: `Last ${label.toLowerCase()}`,
  }));
  if (range.name === null) choices.push({ value: "own", label: "As in the link" });
  return (
    <Select
      label="Range"
      size="xs"
      allowDeselect={false}
      data={choices}
      value={range.name ?? "own"}
      onChange={(value) =>
        value !== "own" && setUrl({ range: value === fallback ? null : value, from: null, to: null })
      }
    />
  );
}
