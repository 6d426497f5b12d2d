/** Make a key; then its secret, once, beside what to paste. */
import { Button, Group, Modal, Stack } from "@mantine/core";
import { schemaResolver, useForm } from "@mantine/form";
import { useState } from "react";
import { $api } from "@/api/client";
import { Failed } from "@/ui/states";
import { createBody, keyForm, NEW_KEY } from "./form";
import { KeyFields } from "./KeyFields";
import { KeyMade } from "./KeyMade";
import { type KeyCreated, useKeysChanged } from "./queries";

export function CreateKey({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const [made, setMade] = useState<KeyCreated | null>(null);
  const form = useForm({ initialValues: NEW_KEY, validate: schemaResolver(keyForm, { sync: true }) });
  const changed = useKeysChanged();
  const create = $api.useMutation("post", "/api/v1/keys", {
    onSuccess: (key) => {
      setMade(key);
      return changed();
    },
  });
  const close = () => {
    setMade(null);
    form.reset();
    create.reset();
    onClose();
  };
  return (
    // A secret on the screen does not vanish by a click beside it.
    <Modal
      opened={opened}
      onClose={close}
      title={made ? `Key “${made.name}”` : "Create a key"}
      size="lg"
      closeOnClickOutside={!made}
    >
      {made ? (
        <KeyMade made={made} onDone={close} />
      ) : (
        <form onSubmit={form.onSubmit((values) => create.mutate({ body: createBody(values) }))}>
          <Stack>
            <KeyFields form={form} isNew />
            {create.error && <Failed error={create.error} />}
            <Group justify="flex-end">
              <Button variant="default" onClick={close}>
                Cancel
              </Button>
              <Button type="submit" loading={create.isPending}>
                Create
              </Button>
            </Group>
          </Stack>
        </form>
      )}
    </Modal>
  );
}
