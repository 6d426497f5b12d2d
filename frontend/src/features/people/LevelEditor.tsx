/** The form of a team or a project, for making one and for changing one. */
import { Button, Group, Select, Stack, Switch, TagsInput, Textarea, TextInput } from "@mantine/core";
import { schemaResolver, useForm } from "@mantine/form";
import { Failed } from "@/ui/states";
import { type LevelForm, levelForm, NEW_LEVEL } from "./levelForm";
import { useTeamChoices } from "./teams";
import { LOGGING } from "./tenantForm";

export function LevelEditor({
  initial = NEW_LEVEL,
  isNew = false,
  inTeam = false,
  withBounds,
  action,
  error,
  isPending,
  onSave,
}: {
  initial?: LevelForm;
  isNew?: boolean;
  /** A project may be in a team. */
  inTeam?: boolean;
  /** A maintainer changes the name and the description alone. */
  withBounds: boolean;
  action: string;
  error: unknown;
  isPending: boolean;
  onSave: (form: LevelForm) => void;
}) {
  const form = useForm({ initialValues: initial, validate: schemaResolver(levelForm, { sync: true }) });
  const teams = useTeamChoices(inTeam);
  return (
    <form onSubmit={form.onSubmit(onSave)}>
      <Stack gap="sm">
        <TextInput label="Name" required maxLength={200} data-autofocus {...form.getInputProps("name")} />
        <Textarea label="Description" autosize maxLength={2000} {...form.getInputProps("description")} />
        {inTeam && (
          <Select
            label="Team"
            description="Its bounds hold for the project as well."
            placeholder="None: directly in the tenant"
            clearable
            searchable
            data={teams}
            {...form.getInputProps("team_id")}
          />
        )}
        {withBounds && (
          <>
            <TagsInput
              label="Models"
              description="Empty: as the level above. A name, or how names begin: gpt-*"
              {...form.getInputProps("models")}
            />
            <TagsInput
              label="Providers"
              description="Empty: as the level above."
              {...form.getInputProps("providers")}
            />
            <Select
              label="What is kept of calls"
              description="The strictest of all levels holds."
              allowDeselect={false}
              data={[{ value: "inherit", label: "As the level above" }, ...LOGGING]}
              {...form.getInputProps("logging")}
            />
            {!isNew && (
              <Switch
                label="Active"
                description="Off: every key below is refused at once."
                {...form.getInputProps("is_active", { type: "checkbox" })}
              />
            )}
          </>
        )}
        {error !== null && <Failed error={error} />}
        <Group justify="flex-end">
          <Button type="submit" loading={isPending} disabled={!isNew && !form.isDirty()}>
            {action}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
