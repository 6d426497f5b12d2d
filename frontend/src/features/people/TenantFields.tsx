/** The fields of a tenant, the same for making and changing one. Its limits are the platform's to set. */
import { Checkbox, Group, NumberInput, Select, Stack, TagsInput, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { useMay } from "@/lib/session";
import { LOGGING, type TenantForm } from "./tenantForm";

export function TenantFields({ form }: { form: UseFormReturnType<TenantForm> }) {
  const may = useMay();
  return (
    <Stack gap="sm">
      <TextInput
        label="Name"
        placeholder="Example Ltd"
        required
        maxLength={200}
        data-autofocus
        {...form.getInputProps("name")}
      />
      <TextInput
        label="Address"
        description="Whom to write to."
        type="email"
        maxLength={254}
        {...form.getInputProps("email")}
      />
      {may("platform:all_tenants") && (
        <>
          <Group grow align="flex-start">
            <TextInput
              label="Dollars a month"
              description="Empty: no budget."
              placeholder="250.00"
              inputMode="decimal"
              {...form.getInputProps("budget")}
            />
            <NumberInput
              label="Requests a minute"
              description="Empty: no limit."
              min={1}
              allowDecimal={false}
              thousandSeparator=","
              {...form.getInputProps("rate")}
            />
          </Group>
          <TagsInput
            label="Models"
            description="Empty: all. A name, or how names begin: gpt-*"
            {...form.getInputProps("models")}
          />
          <TagsInput label="Providers" description="Empty: all." {...form.getInputProps("providers")} />
        </>
      )}
      <Select
        label="What is kept of calls"
        allowDeselect={false}
        data={[...LOGGING]}
        {...form.getInputProps("logging")}
      />
      <Checkbox
        label="Everybody needs a second factor"
        description="Who has none may do nothing but set one up."
        {...form.getInputProps("needs_second_factor", { type: "checkbox" })}
      />
    </Stack>
  );
}
