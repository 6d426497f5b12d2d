/** The keys of a provider: named and told apart, never shown. */
import { Button, Group, PasswordInput, Stack, Table, Text, TextInput, VisuallyHidden } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useState } from "react";
import { $api, client, type Schemas } from "@/api/client";
import { ConfirmByTyping } from "@/ui/ConfirmByTyping";
import { Moment } from "@/ui/Moment";
import { say } from "@/ui/say";
import { Failed } from "@/ui/states";
import { useCatalogChanged } from "./changes";

type Provider = Schemas["ProviderOut"];
type Credential = Schemas["CredentialOut"];

export function Credentials({ of: provider, isOurs }: { of: Provider; isOurs: boolean }) {
  const changed = useCatalogChanged();
  const [leaving, setLeaving] = useState<Credential | null>(null);
  const form = useForm({ initialValues: { name: "", secret: "" } });
  const add = $api.useMutation("post", "/api/v1/catalog/providers/{provider_id}/credentials", {
    onSuccess: () => {
      form.reset();
      say("The credential is in use on every worker within a second.");
      return changed();
    },
  });
  const credentials = provider.credentials ?? [];
  return (
    <Stack>
      {credentials.length === 0 ? (
        <Text size="sm">{provider.has_credential ? "It has one, which only the platform sees." : "It has none."}</Text>
      ) : (
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Name</Table.Th>
              <Table.Th>Fingerprint</Table.Th>
              <Table.Th>Sent only to</Table.Th>
              <Table.Th>Since</Table.Th>
              <Table.Th>
                <VisuallyHidden>Actions</VisuallyHidden>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {credentials.map((credential) => (
              <Table.Tr key={credential.id}>
                <Table.Td>{credential.name}</Table.Td>
                <Table.Td>
                  <code>{credential.fingerprint}</code>
                </Table.Td>
                <Table.Td style={{ overflowWrap: "anywhere" }}>{credential.origins.join(", ")}</Table.Td>
                <Table.Td>
                  <Moment at={credential.created_at} relative />
                </Table.Td>
                <Table.Td>
                  {isOurs && (
                    <Button size="compact-xs" variant="outline" color="red" onClick={() => setLeaving(credential)}>
                      Remove …
                    </Button>
                  )}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      {isOurs && (
        <form
          onSubmit={form.onSubmit(({ name, secret }) =>
            add.mutate({
              params: { path: { provider_id: provider.id } },
              body: { name: name.trim() || "default", secret },
            }),
          )}
        >
          <Stack gap="xs">
            <Group align="flex-end" grow>
              <TextInput label="Name" placeholder="second account" maxLength={200} {...form.getInputProps("name")} />
              <PasswordInput label="The vendor's key" required autoComplete="off" {...form.getInputProps("secret")} />
            </Group>
            {add.error && <Failed error={add.error} />}
            <Group justify="flex-end">
              <Button type="submit" variant="default" loading={add.isPending} disabled={form.values.secret === ""}>
                Add a credential
              </Button>
            </Group>
          </Stack>
        </form>
      )}
      {leaving !== null && (
        <ConfirmByTyping
          opened
          onClose={() => setLeaving(null)}
          title="Remove this credential"
          word={leaving.name}
          action="Remove this credential"
          onConfirm={async () => {
            await client.DELETE("/api/v1/catalog/providers/{provider_id}/credentials/{credential_id}", {
              params: { path: { provider_id: provider.id, credential_id: leaving.id } },
            });
            await changed();
            say(`The credential “${leaving.name}” is gone.`);
          }}
        >
          Calls go on with the others. Without any, the provider answers nobody.
        </ConfirmByTyping>
      )}
    </Stack>
  );
}
