/** A further provider: what kind it is, where, and its key. */
import { Button, Group, Modal, PasswordInput, Select, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { $api } from "@/api/client";
import { say } from "@/ui/say";
import { Failed } from "@/ui/states";
import { useCatalogChanged } from "./changes";

export function CreateProvider({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const changed = useCatalogChanged();
  const kinds = $api.useQuery("get", "/api/v1/catalog/providers/kinds", {}, { enabled: opened, staleTime: 300_000 });
  const form = useForm({
    initialValues: { name: "", kind: "", base_url: "", api_key: "" },
    validate: {
      name: (name) => (/^[a-z0-9][a-z0-9_-]*$/.test(name.trim()) ? null : "Small letters, digits, - and _."),
      kind: (kind) => (kind ? null : "What speaks there?"),
    },
  });
  const kind = kinds.data?.data.find((one) => one.kind === form.values.kind);
  const create = $api.useMutation("post", "/api/v1/catalog/providers", {
    onSuccess: async (provider) => {
      await changed();
      say(`“${provider.name}” is there on every worker within a second. Test it, then lead a model to it.`);
      close();
    },
  });
  const close = () => {
    form.reset();
    create.reset();
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title="Add a provider" size="lg">
      <form
        onSubmit={form.onSubmit(({ name, base_url, api_key, kind: chosen }) =>
          create.mutate({
            body: {
              name: name.trim(),
              kind: chosen,
              ...(base_url.trim() && { base_url: base_url.trim() }),
              ...(api_key && { api_key }),
            },
          }),
        )}
      >
        <Stack gap="sm">
          <Select
            label="What speaks there"
            required
            searchable
            data={kinds.data?.data.map((one) => ({ value: one.kind, label: one.title })) ?? []}
            {...form.getInputProps("kind")}
            onChange={(chosen) => {
              form.setFieldValue("kind", chosen ?? "");
              if (form.values.name === "" && chosen) form.setFieldValue("name", chosen);
            }}
          />
          {kinds.error && <Failed error={kinds.error} onRetry={() => void kinds.refetch()} />}
          <TextInput
            label="Name"
            description="What models and logs call it."
            required
            {...form.getInputProps("name")}
          />
          <TextInput
            label="Base URL"
            placeholder={kind?.base_url ?? "https://…"}
            description={kind?.base_url ? "Empty: the vendor's own." : undefined}
            required={kind?.needs_base_url ?? false}
            {...form.getInputProps("base_url")}
          />
          {kind?.needs_credential !== false && (
            <PasswordInput
              label="The vendor's key"
              description="Sealed, sent nowhere but there, and never shown again."
              autoComplete="off"
              {...form.getInputProps("api_key")}
            />
          )}
          {kind?.document && <Text size="sm">Its key is a document: paste all of it. {kind.document}</Text>}
          {create.error && <Failed error={create.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" loading={create.isPending}>
              Add it
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
