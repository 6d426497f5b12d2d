/** Invite somebody; where no mail is sent, the link is shown, once. */
import { Button, Group, Modal, Select, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { $api } from "@/api/client";
import { CodeBlock } from "@/ui/Copy";
import { Failed } from "@/ui/states";
import { useMembersChanged, useRoleNames } from "./queries";

export function Invite({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const [email, setEmail] = useState("");
  const [role, setRole] = useState("developer");
  const roles = useRoleNames(opened);
  const changed = useMembersChanged();
  const invite = $api.useMutation("post", "/api/v1/invitations", { onSuccess: () => changed() });
  const close = () => {
    invite.reset();
    setEmail("");
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title="Invite somebody" closeOnClickOutside={!invite.data}>
      {invite.data ? (
        <Stack>
          {invite.data.link ? (
            <>
              <Text size="sm">Hand this link to {invite.data.email}. It is shown now and never again.</Text>
              <CodeBlock code={invite.data.link} what="link" />
            </>
          ) : (
            <Text size="sm">An invitation is on its way to {invite.data.email}.</Text>
          )}
          <Group justify="flex-end">
            <Button onClick={close}>Done</Button>
          </Group>
        </Stack>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            invite.mutate({ body: { email: email.trim(), role } });
          }}
        >
          <Stack>
            <TextInput
              label="E-mail address"
              type="email"
              required
              maxLength={254}
              value={email}
              onChange={(event) => setEmail(event.currentTarget.value)}
              data-autofocus
            />
            <Select
              label="Role"
              searchable
              allowDeselect={false}
              data={roles}
              value={role}
              onChange={(name) => name && setRole(name)}
            />
            {invite.error && <Failed error={invite.error} />}
            <Group justify="flex-end">
              <Button variant="default" onClick={close}>
                Cancel
              </Button>
              <Button type="submit" loading={invite.isPending}>
                Invite
              </Button>
            </Group>
          </Stack>
        </form>
      )}
    </Modal>
  );
}
