/** One key: what it is, what holds for it and why, and what can be done to it. */
import { Button, Group, Modal, Select, Stack, Text } from "@mantine/core";
import { schemaResolver, useForm } from "@mantine/form";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { $api, client, etagOf } from "@/api/client";
import { useMay } from "@/lib/session";
import { ConfirmByTyping } from "@/ui/ConfirmByTyping";
import { DetailDrawer } from "@/ui/DetailDrawer";
import { Facts } from "@/ui/Facts";
import { Moment } from "@/ui/Moment";
import { say } from "@/ui/say";
import { Failed, Loading } from "@/ui/states";
import { EffectiveBounds } from "./EffectiveBounds";
import { formOf, keyForm, updateBody } from "./form";
import { KeyFields } from "./KeyFields";
import { KeyMade } from "./KeyMade";
import { KeyStatus } from "./KeyStatus";
import { type Key, type KeyCreated, keyHint, useKeysChanged } from "./queries";

export function KeyDrawer({ id, neighbours, onClose }: { id: string; neighbours: string[]; onClose: () => void }) {
  const key = $api.useQuery("get", "/api/v1/keys/{key_id}", { params: { path: { key_id: id } } });
  const may = useMay();
  const overview = key.error ? (
    <Failed error={key.error} onRetry={() => void key.refetch()} />
  ) : key.data ? (
    <Overview of={key.data} />
  ) : (
    <Loading />
  );
  const tabs = [
    { value: "overview", label: "Overview", content: overview },
    { value: "effective", label: "What holds", content: <EffectiveBounds id={id} /> },
  ];
  if (key.data?.status === "active" && may("api_keys:update")) {
    tabs.push({ value: "edit", label: "Edit", content: <Edit key={key.data.version} of={key.data} /> });
  }
  return (
    <DetailDrawer
      id={id}
      idLabel="key id"
      title={key.data?.name ?? "Key"}
      badge={key.data && <KeyStatus of={key.data} />}
      tabs={tabs}
      call={{ method: "GET", path: `/api/v1/keys/${id}` }}
      neighbours={neighbours}
      onClose={onClose}
    />
  );
}

function Overview({ of: key }: { of: Key }) {
  const may = useMay();
  const changed = useKeysChanged();
  const [isRevoking, setRevoking] = useState(false);
  const [isRotating, setRotating] = useState(false);
  const tags = Object.entries(key.tags).map(([name, value]) => `${name}: ${String(value)}`);
  return (
    <Stack>
      <Facts
        facts={[
          ["Key", <code key="hint">{keyHint(key)}</code>],
          ["Environment", key.environment],
          ["Scopes", key.scopes.join(", ")],
          ["Created", <Moment key="created" at={key.created_at} />],
          ["Last used", key.last_used_at ? <Moment key="used" at={key.last_used_at} relative /> : "never"],
          ["Expires", key.expires_at ? <Moment key="expires" at={key.expires_at} /> : "never"],
          ["Old secret works until", key.previous_expires_at && <Moment key="grace" at={key.previous_expires_at} />],
          ["Models", key.allowed_models_override?.join(", ") ?? "as its tenant"],
          ["Providers", key.allowed_providers_override?.join(", ") ?? "as its tenant"],
          ["Endpoints", key.allowed_endpoints?.join(", ") ?? "all"],
          ["Addresses", key.allowed_addresses?.join(", ") ?? "everywhere"],
          ["Origins", key.allowed_origins?.join(", ") ?? "everywhere"],
          ["Requests a minute", key.rate_limit_override ?? "as its tenant"],
          ["Tags", tags.join(", ")],
          ["Owner", key.user_id],
          ["Project", key.project_id],
        ]}
      />
      <Group>
        {may("requests:view") && (
          <Button variant="default" component={Link} {...({ to: "/requests", search: { key: key.id } } as object)}>
            Its requests
          </Button>
        )}
        {key.status === "active" && may("api_keys:update") && !key.is_imported && (
          <Button variant="default" onClick={() => setRotating(true)}>
            Rotate …
          </Button>
        )}
        {key.status === "active" && may("api_keys:delete") && (
          <Button color="red" variant="outline" onClick={() => setRevoking(true)}>
            Revoke …
          </Button>
        )}
      </Group>
      <Rotate of={key} opened={isRotating} onClose={() => setRotating(false)} />
      <ConfirmByTyping
        opened={isRevoking}
        onClose={() => setRevoking(false)}
        title="Revoke this key"
        word={key.name}
        action="Revoke this key"
        onConfirm={async () => {
          await client.POST("/api/v1/keys/{key_id}/revoke", { params: { path: { key_id: key.id } } });
          await changed();
          say(`The key “${key.name}” is revoked.`);
        }}
      >
        Every worker refuses it within a second, and nothing brings it back. It stays listed, because usage and the
        audit trail name it.
      </ConfirmByTyping>
    </Stack>
  );
}

const GRACES = [
  { value: "0", label: "None: the old secret ends at once" },
  { value: "900", label: "15 minutes" },
  { value: "3600", label: "An hour" },
  { value: "86400", label: "A day" },
  { value: "604800", label: "A week" },
];

function Rotate({ of: key, opened, onClose }: { of: Key; opened: boolean; onClose: () => void }) {
  const [grace, setGrace] = useState("3600");
  const [made, setMade] = useState<KeyCreated | null>(null);
  const changed = useKeysChanged();
  const rotate = $api.useMutation("post", "/api/v1/keys/{key_id}/rotate", {
    onSuccess: (renewed) => {
      setMade(renewed);
      return changed();
    },
  });
  const close = () => {
    setMade(null);
    rotate.reset();
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title={`Rotate “${key.name}”`} size="lg" closeOnClickOutside={!made}>
      {made ? (
        <KeyMade made={made} onDone={close} />
      ) : (
        <Stack>
          <Text size="sm">The key gets a new secret. Until the grace ends, the old one works as well.</Text>
          <Select
            label="Grace"
            data={GRACES}
            value={grace}
            onChange={(value) => setGrace(value ?? "0")}
            allowDeselect={false}
          />
          {rotate.error && <Failed error={rotate.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button
              loading={rotate.isPending}
              onClick={() =>
                rotate.mutate({
                  params: { path: { key_id: key.id }, header: { "if-match": etagOf(key) } },
                  body: { grace_seconds: Number(grace) },
                })
              }
            >
              Rotate
            </Button>
          </Group>
        </Stack>
      )}
    </Modal>
  );
}

function Edit({ of: key }: { of: Key }) {
  const form = useForm({ initialValues: formOf(key), validate: schemaResolver(keyForm, { sync: true }) });
  const changed = useKeysChanged();
  const update = $api.useMutation("patch", "/api/v1/keys/{key_id}", {
    onSuccess: () => {
      say("The key is changed; workers follow within a second.");
      return changed();
    },
  });
  return (
    <form
      onSubmit={form.onSubmit((values) =>
        update.mutate({
          params: { path: { key_id: key.id }, header: { "if-match": etagOf(key) } },
          body: updateBody(values, key),
        }),
      )}
    >
      <Stack>
        <KeyFields form={form} isNew={false} />
        {update.error && <Failed error={update.error} />}
        <Group justify="flex-end">
          <Button type="submit" loading={update.isPending} disabled={!form.isDirty()}>
            Save
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
