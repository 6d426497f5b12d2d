/** The fields of a budget, the same for giving and changing one. */
import { Checkbox, Group, SegmentedControl, Select, Stack, TagsInput, Text, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { type BudgetForm, WINDOWS } from "./budgetForm";
import { ScopeFields } from "./ScopeFields";
import { UntilField } from "./UntilField";

const ZONES = typeof Intl.supportedValuesOf === "function" ? ["UTC", ...Intl.supportedValuesOf("timeZone")] : ["UTC"];

export function BudgetFields({ form, isNew }: { form: UseFormReturnType<BudgetForm>; isNew: boolean }) {
  const { increase_usd: increase } = form.values;
  return (
    <Stack gap="sm">
      <TextInput
        label="Name"
        placeholder="checkout, a month"
        required
        maxLength={200}
        data-autofocus
        {...form.getInputProps("name")}
      />
      {isNew && (
        <ScopeFields
          value={form.values.scope}
          error={form.errors["scope.subject"] as string | undefined}
          onChange={(scope) => form.setFieldValue("scope", scope)}
        />
      )}
      <Group grow align="flex-start">
        <TextInput
          label="Dollars"
          placeholder="25.00"
          inputMode="decimal"
          required
          {...form.getInputProps("amount_usd")}
        />
        {isNew && (
          <Select
            label="In each"
            allowDeselect={false}
            data={WINDOWS.map((one) => ({ value: one, label: one === "total" ? "all time together" : one }))}
            {...form.getInputProps("window")}
          />
        )}
      </Group>
      {isNew && form.values.window !== "total" && (
        <Select
          label="Days begin in"
          searchable
          allowDeselect={false}
          limit={50}
          data={ZONES}
          {...form.getInputProps("time_zone")}
        />
      )}
      <div>
        <Text size="sm" fw={500} id="budget-mode">
          Once it is spent
        </Text>
        <SegmentedControl
          fullWidth
          aria-labelledby="budget-mode"
          data={[
            { value: "hard", label: "Refuse calls: it is never passed" },
            { value: "soft", label: "Only tell" },
          ]}
          {...form.getInputProps("mode")}
        />
      </div>
      {form.values.mode === "hard" && (
        <Select
          label="Refused with"
          allowDeselect={false}
          data={[
            { value: "429", label: "429 insufficient_quota, as OpenAI does" },
            { value: "402", label: "402 payment required" },
          ]}
          {...form.getInputProps("refusal_status")}
        />
      )}
      <TagsInput
        label="Tell at percent"
        description="Each is told once a window to whoever subscribes."
        {...form.getInputProps("thresholds")}
      />
      <TagsInput
        label="Only calls of these models"
        description="A * may end a name. Empty: of all."
        {...form.getInputProps("models")}
      />
      {form.values.window !== "total" && (
        <Checkbox
          label="What is left of a window is added to the next"
          {...form.getInputProps("rolls_over", { type: "checkbox" })}
        />
      )}
      <Group grow align="flex-start">
        <TextInput
          label="More for a while, dollars"
          placeholder="none"
          inputMode="decimal"
          {...form.getInputProps("increase_usd")}
        />
        {increase !== "" && (
          <UntilField
            label="Until"
            value={form.values.increase_until}
            error={form.errors.increase_until as string | undefined}
            onChange={(until) => form.setFieldValue("increase_until", until)}
          />
        )}
      </Group>
    </Stack>
  );
}
