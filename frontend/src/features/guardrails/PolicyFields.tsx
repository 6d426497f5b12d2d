/** The fields of a policy, the same for writing a new one and a new version. */
import { Checkbox, Group, JsonInput, SegmentedControl, Select, Stack, Text, Textarea, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { $api } from "@/api/client";
import { type PolicyForm, STARTERS } from "./policies";

export function PolicyFields({ form, isNew }: { form: UseFormReturnType<PolicyForm>; isNew: boolean }) {
  const rules = $api.useQuery("get", "/api/v1/guardrails/rules", {}, { staleTime: 300_000 });
  return (
    <Stack gap="sm">
      {isNew && <TextInput label="Name" required maxLength={200} data-autofocus {...form.getInputProps("name")} />}
      <Textarea label="What it is for" autosize maxLength={2000} {...form.getInputProps("description")} />
      <Select
        label="Begin with"
        description="Rules shipped and maintained with the product."
        data={[{ value: "", label: "nothing" }, ...STARTERS.map((one) => ({ value: one, label: one }))]}
        allowDeselect={false}
        {...form.getInputProps("starter")}
      />
      <Group grow align="flex-start">
        <div>
          <Text size="sm" fw={500} id="policy-mode">
            What it finds
          </Text>
          <SegmentedControl
            fullWidth
            aria-labelledby="policy-mode"
            data={[
              { value: "monitor", label: "is told" },
              { value: "enforce", label: "is acted on" },
            ]}
            {...form.getInputProps("mode")}
          />
        </div>
        <div>
          <Text size="sm" fw={500} id="policy-when">
            Input is looked at
          </Text>
          <SegmentedControl
            fullWidth
            aria-labelledby="policy-when"
            data={[
              { value: "before", label: "before the call" },
              { value: "during", label: "beside it" },
            ]}
            {...form.getInputProps("when")}
          />
        </div>
      </Group>
      <JsonInput
        label="Further rules"
        description={`Each names one of: ${rules.data?.data.map((rule) => rule.name).join(", ") ?? "…"}.`}
        placeholder='[{"rule": "keywords", "action": "block", "settings": {"terms": ["project x"]}}]'
        formatOnBlur
        autosize
        minRows={4}
        maxRows={18}
        {...form.getInputProps("rules")}
      />
      <TextInput
        label="Told to callers who are blocked"
        placeholder="our own sentence"
        maxLength={500}
        {...form.getInputProps("message")}
      />
      <Checkbox
        label="Events may hold the text that was found"
        {...form.getInputProps("keeps_text", { type: "checkbox" })}
      />
    </Stack>
  );
}
