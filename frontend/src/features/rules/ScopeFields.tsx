/** The choice of whose calls a new rule is about. */
import { Group, Select, TextInput } from "@mantine/core";
import { useScopeNames } from "./names";
import { hasId, KINDS, type Kind, kindOf, type ScopeForm } from "./scope";

export function ScopeFields({
  value,
  error,
  onChange,
}: {
  value: ScopeForm;
  error?: string | undefined;
  onChange: (value: ScopeForm) => void;
}) {
  const { choicesOf } = useScopeNames();
  const kind = kindOf(value.kind);
  return (
    <Group grow align="flex-start">
      <Select
        label="Counts the calls of"
        allowDeselect={false}
        data={KINDS.map(({ value: one, label }) => ({ value: one, label }))}
        value={value.kind}
        onChange={(chosen) => onChange({ kind: (chosen ?? "tenant") as Kind, subject: "" })}
      />
      {hasId(value.kind) ? (
        <Select
          label={`Which ${kind.label.toLowerCase()}`}
          placeholder="Each one apart"
          clearable
          searchable
          data={choicesOf(value.kind)}
          value={value.subject || null}
          onChange={(subject) => onChange({ ...value, subject: subject ?? "" })}
        />
      ) : (
        <TextInput
          label={`Which ${kind.label.toLowerCase()}`}
          placeholder={"hint" in kind ? kind.hint : ""}
          value={value.subject}
          error={error}
          maxLength={256}
          onChange={(event) => onChange({ ...value, subject: event.currentTarget.value })}
        />
      )}
    </Group>
  );
}
