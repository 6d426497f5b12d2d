/** The fields of a key, the same for making and changing one. */
import {
  Checkbox,
  Collapse,
  Group,
  NumberInput,
  SegmentedControl,
  Select,
  Stack,
  TagsInput,
  Text,
  TextInput,
  UnstyledButton,
} from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { ChevronRight } from "lucide-react";
import { useMay } from "@/lib/session";
import type { KeyForm } from "./form";
import { useModels, useProjects } from "./queries";

const DAY_MS = 86_400_000;
const LIFETIMES = [
  { value: "", label: "Never" },
  { value: "1", label: "In a day" },
  { value: "7", label: "In a week" },
  { value: "30", label: "In 30 days" },
  { value: "90", label: "In 90 days" },
  { value: "365", label: "In a year" },
];

export function KeyFields({ form, isNew }: { form: UseFormReturnType<KeyForm>; isNew: boolean }) {
  const models = useModels();
  const projects = useProjects();
  const may = useMay();
  const [isMore, more] = useDisclosure(!isNew);
  return (
    <Stack gap="sm">
      <TextInput
        label="Name"
        placeholder="checkout service"
        required
        maxLength={200}
        data-autofocus
        {...form.getInputProps("name")}
      />
      {isNew && (
        <div>
          <Text size="sm" fw={500} id="environment">
            Environment
          </Text>
          <SegmentedControl
            aria-labelledby="environment"
            data={[
              { value: "live", label: "Live" },
              { value: "test", label: "Test: simulated models only" },
            ]}
            {...form.getInputProps("environment")}
          />
        </div>
      )}
      {(projects.data?.data.length ?? 0) > 0 && (
        <Select
          label="Project"
          placeholder="None"
          clearable
          searchable
          data={projects.data?.data.map((project) => ({ value: project.id, label: project.name })) ?? []}
          {...form.getInputProps("project_id")}
        />
      )}
      {isNew && (
        <Select
          label="Expires"
          data={LIFETIMES}
          allowDeselect={false}
          defaultValue=""
          onChange={(days) =>
            form.setFieldValue("expires_at", days ? new Date(Date.now() + Number(days) * DAY_MS).toISOString() : null)
          }
        />
      )}
      <UnstyledButton onClick={more.toggle} aria-expanded={isMore}>
        <Group gap={4}>
          <ChevronRight size={16} aria-hidden style={{ rotate: isMore ? "90deg" : undefined }} />
          <Text size="sm" fw={600}>
            Bounds of its own
          </Text>
        </Group>
      </UnstyledButton>
      <Collapse expanded={isMore}>
        <Stack gap="sm">
          <TagsInput
            label="Models"
            description="Empty: all that its tenant may use. A name, or how names begin: gpt-*"
            data={models.data?.data.map((model) => model.name) ?? []}
            {...form.getInputProps("models")}
          />
          <NumberInput
            label="Requests a minute"
            description="Empty: as its tenant."
            min={1}
            allowDecimal={false}
            thousandSeparator=","
            {...form.getInputProps("rate")}
          />
          <TagsInput
            label="Endpoints"
            description="Empty: all. Paths below /v1: chat/completions, models"
            {...form.getInputProps("endpoints")}
          />
          <TagsInput
            label="Addresses"
            description="Empty: from everywhere. 192.0.2.7, 10.0.0.0/8"
            {...form.getInputProps("addresses")}
          />
          {may("api_keys:create") && (
            <Checkbox.Group label="Scopes" {...form.getInputProps("scopes")}>
              <Group mt={4}>
                <Checkbox value="inference" label="Call models" />
                <Checkbox value="admin" label="Administer, as far as its owner may" />
              </Group>
            </Checkbox.Group>
          )}
        </Stack>
      </Collapse>
    </Stack>
  );
}
