/** The fields of a limit, the same for making and changing one. */
import { Checkbox, Group, NumberInput, Select, Stack, TagsInput, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { type LimitForm, PERIODS, UNITS } from "./limitForm";
import { ScopeFields } from "./ScopeFields";
import { UntilField } from "./UntilField";

export function LimitFields({ form, isNew }: { form: UseFormReturnType<LimitForm>; isNew: boolean }) {
  const { unit, override_amount: override } = form.values;
  const isRate = unit !== "parallel";
  return (
    <Stack gap="sm">
      <TextInput label="Name" required maxLength={200} data-autofocus {...form.getInputProps("name")} />
      {isNew && (
        <ScopeFields
          value={form.values.scope}
          error={form.errors["scope.subject"] as string | undefined}
          onChange={(scope) => form.setFieldValue("scope", scope)}
        />
      )}
      <Group grow align="flex-start">
        <NumberInput label="At most" min={1} thousandSeparator="," required {...form.getInputProps("amount")} />
        {isNew && <Select label="Of" allowDeselect={false} data={[...UNITS]} {...form.getInputProps("unit")} />}
        {isNew && isRate && (
          <Select label="In each" allowDeselect={false} data={[...PERIODS]} {...form.getInputProps("period")} />
        )}
      </Group>
      {isRate && (
        <NumberInput
          label="At once"
          description="How many may come in one burst. Empty: a sixth of the amount for seconds and minutes, all of it for longer."
          min={1}
          {...form.getInputProps("burst")}
        />
      )}
      <TagsInput
        label="Only calls of these models"
        description="A * may end a name. Empty: of all."
        {...form.getInputProps("models")}
      />
      {isNew && (
        <Checkbox label="Each model is counted apart" {...form.getInputProps("is_per_model", { type: "checkbox" })} />
      )}
      <Checkbox
        label="Shadow: count and report, but refuse nothing"
        {...form.getInputProps("is_shadow", { type: "checkbox" })}
      />
      <Group grow align="flex-start">
        <NumberInput label="Another amount for a while" min={1} {...form.getInputProps("override_amount")} />
        {override !== "" && (
          <UntilField
            label="Until"
            value={form.values.override_until}
            error={form.errors.override_until as string | undefined}
            onChange={(until) => form.setFieldValue("override_until", until)}
          />
        )}
      </Group>
    </Stack>
  );
}
