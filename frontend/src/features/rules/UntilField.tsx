/** A moment in the future, typed or chosen in the reader's own time. */
import "@mantine/dates/styles.css";
import { DateTimePicker } from "@mantine/dates";

export function UntilField({
  label,
  value,
  error,
  onChange,
}: {
  label: string;
  value: string | null;
  error?: string | undefined;
  onChange: (value: string | null) => void;
}) {
  const shown =
    value === null ? null : new Date(new Date(value).getTime() - new Date(value).getTimezoneOffset() * 60_000);
  return (
    <DateTimePicker
      label={label}
      clearable
      valueFormat="YYYY-MM-DD HH:mm"
      value={shown === null ? null : shown.toISOString().slice(0, 19).replace("T", " ")}
      error={error}
      minDate={new Date()}
      onChange={(chosen) => onChange(chosen ? new Date(chosen.replace(" ", "T")).toISOString() : null)}
    />
  );
}
