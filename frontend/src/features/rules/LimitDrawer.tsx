/** One limit: what of it is left now, and its terms. */
import { Button, Group, Modal, Stack } from "@mantine/core";
import { schemaResolver, useForm } from "@mantine/form";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { $api, client, etagOf } from "@/api/client";
import { formatCount } from "@/lib/format";
import { useMay } from "@/lib/session";
import { ConfirmByTyping } from "@/ui/ConfirmByTyping";
import { DetailDrawer } from "@/ui/DetailDrawer";
import { Facts } from "@/ui/Facts";
import { Moment } from "@/ui/Moment";
import { StatusBadge } from "@/ui/StatusBadge";
import { say } from "@/ui/say";
import { Failed, Loading } from "@/ui/states";
import { useTenantFilter } from "@/ui/TenantFilter";
import { useRulesChanged } from "./changes";
import { LimitFields } from "./LimitFields";
import { createBody, formOf, type Limit, limitForm, NEW_LIMIT, rateWords, updateBody } from "./limitForm";
import { useScopeNames } from "./names";
import { scopeWords, titleOf } from "./scope";

export function LimitDrawer({ id, neighbours, onClose }: { id: string; neighbours: string[]; onClose: () => void }) {
  const limit = $api.useQuery("get", "/api/v1/limits/{limit_id}", { params: { path: { limit_id: id } } });
  const may = useMay();
  const overview = limit.error ? (
    <Failed error={limit.error} onRetry={() => void limit.refetch()} />
  ) : limit.data ? (
    <Overview of={limit.data} onGone={onClose} />
  ) : (
    <Loading />
  );
  const tabs = [{ value: "overview", label: "Overview", content: overview }];
  if (limit.data && may("limits:update") && limit.data.managed_by === "api" && limit.data.origin === null) {
    tabs.push({ value: "edit", label: "Edit", content: <Edit key={limit.data.version} of={limit.data} /> });
  }
  return (
    <DetailDrawer
      id={id}
      idLabel="limit id"
      title={limit.data ? titleOf(limit.data) : "Limit"}
      badge={limit.data?.is_shadow && <StatusBadge tone="calm">shadow</StatusBadge>}
      tabs={tabs}
      call={{ method: "GET", path: `/api/v1/limits/${id}/status` }}
      neighbours={neighbours}
      onClose={onClose}
    />
  );
}

function Overview({ of: limit, onGone }: { of: Limit; onGone: () => void }) {
  const may = useMay();
  const { named } = useScopeNames();
  const changed = useRulesChanged();
  const [isDeleting, setDeleting] = useState(false);
  const isApart = limit.scope.id === null && limit.scope.value === null;
  const status = $api.useQuery(
    "get",
    "/api/v1/limits/{limit_id}/status",
    { params: { path: { limit_id: limit.id } } },
    { refetchInterval: 5_000, enabled: !isApart && !limit.is_per_model },
  );
  return (
    <Stack>
      <Facts
        facts={[
          ["At most", rateWords(limit)],
          ["Left now", isApart || limit.is_per_model ? "counted apart" : formatCount(status.data?.remaining)],
          [
            "Unused again in",
            status.data?.reset_seconds == null ? null : `${formatCount(Math.ceil(status.data.reset_seconds))} s`,
          ],
          ["At once", limit.burst === null ? "as the rate gives" : formatCount(limit.burst)],
          ["Counts the calls of", scopeWords(limit.scope, named)],
          ["Models", limit.models?.join(", ") ?? "all"],
          ["Each model apart", limit.is_per_model ? "yes" : "no"],
          ["Refuses", limit.is_shadow ? "nothing: it only counts" : "429 rate_limit_exceeded"],
          ["For a while", limit.override_amount === null ? null : formatCount(limit.override_amount)],
          ["Until", limit.override_until && <Moment key="until" at={limit.override_until} />],
          [
            "Managed by",
            limit.managed_by === "file"
              ? `the file, ${limit.declared_at ?? ""}`
              : (limit.origin ?? "the console and the API"),
          ],
        ]}
      />
      {status.error !== null && <Failed error={status.error} onRetry={() => void status.refetch()} />}
      <Group>
        {may("requests:view") && (
          <Button
            variant="default"
            component={Link}
            {...({ to: "/requests", search: { error: "rate_limit_exceeded" } } as object)}
          >
            Recent refusals
          </Button>
        )}
        {may("limits:delete") && limit.managed_by === "api" && limit.origin === null && (
          <Button color="red" variant="outline" onClick={() => setDeleting(true)}>
            Delete …
          </Button>
        )}
      </Group>
      <ConfirmByTyping
        opened={isDeleting}
        onClose={() => setDeleting(false)}
        title="Delete this limit"
        word={limit.name}
        action="Delete this limit"
        onConfirm={async () => {
          await client.DELETE("/api/v1/limits/{limit_id}", {
            params: { path: { limit_id: limit.id }, header: { "if-match": etagOf(limit) } },
          });
          await changed();
          say(`The limit “${limit.name}” is gone.`);
          onGone();
        }}
      >
        Calls are no longer held to it, within a second and on every worker.
      </ConfirmByTyping>
    </Stack>
  );
}

function Edit({ of: limit }: { of: Limit }) {
  const form = useForm({ initialValues: formOf(limit), validate: schemaResolver(limitForm, { sync: true }) });
  const changed = useRulesChanged();
  const update = $api.useMutation("patch", "/api/v1/limits/{limit_id}", {
    onSuccess: () => {
      say("The limit is changed; workers follow within a second.");
      return changed();
    },
  });
  return (
    <form
      onSubmit={form.onSubmit((values) =>
        update.mutate({
          params: { path: { limit_id: limit.id }, header: { "if-match": etagOf(limit) } },
          body: updateBody(values, limit),
        }),
      )}
    >
      <Stack>
        <LimitFields form={form} isNew={false} />
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

export function CreateLimit({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const form = useForm({ initialValues: NEW_LIMIT, validate: schemaResolver(limitForm, { sync: true }) });
  const changed = useRulesChanged();
  const tenant = useTenantFilter();
  const create = $api.useMutation("post", "/api/v1/limits", {
    onSuccess: async (limit) => {
      await changed();
      say(`The limit “${limit.name}” holds on every worker within a second.`);
      close();
    },
  });
  const close = () => {
    form.reset();
    create.reset();
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title="Set a limit" size="lg">
      <form
        onSubmit={form.onSubmit((values) =>
          create.mutate({ body: { ...createBody(values), ...(tenant && { tenant_id: tenant }) } }),
        )}
      >
        <Stack>
          <LimitFields form={form} isNew />
          {create.error && <Failed error={create.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" loading={create.isPending}>
              Set it
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
