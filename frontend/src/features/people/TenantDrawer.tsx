/** One tenant: what holds for it, what it spent, and its suspension. */
import { Button, Group, Modal, Stack, TextInput } from "@mantine/core";
import { schemaResolver, useForm } from "@mantine/form";
import { useState } from "react";
import { $api, client, etagOf } from "@/api/client";
import { formatCount, formatUsd } from "@/lib/format";
import { useMay, useSession } from "@/lib/session";
import { ConfirmByTyping } from "@/ui/ConfirmByTyping";
import { DetailDrawer } from "@/ui/DetailDrawer";
import { Facts } from "@/ui/Facts";
import { Moment } from "@/ui/Moment";
import { StatusBadge } from "@/ui/StatusBadge";
import { say, sayProblem } from "@/ui/say";
import { Failed, Loading } from "@/ui/states";
import { usePeopleChanged } from "./changes";
import { TenantFields } from "./TenantFields";
import { createBody, formOf, NEW_TENANT, type Tenant, tenantForm, updateBody } from "./tenantForm";

export function TenantStatus({ of: tenant }: { of: Tenant }) {
  return (
    <StatusBadge tone={tenant.is_active ? "good" : "bad"}>{tenant.is_active ? "active" : "suspended"}</StatusBadge>
  );
}

export function TenantDrawer({ id, neighbours, onClose }: { id: string; neighbours: string[]; onClose: () => void }) {
  const tenant = $api.useQuery("get", "/api/v1/tenants/{tenant_id}", { params: { path: { tenant_id: id } } });
  const may = useMay();
  const overview = tenant.error ? (
    <Failed error={tenant.error} onRetry={() => void tenant.refetch()} />
  ) : tenant.data ? (
    <Overview of={tenant.data} onGone={onClose} />
  ) : (
    <Loading />
  );
  const tabs = [{ value: "overview", label: "Overview", content: overview }];
  if (tenant.data && may("tenants:update")) {
    tabs.push({ value: "edit", label: "Edit", content: <Edit key={tenant.data.version} of={tenant.data} /> });
  }
  return (
    <DetailDrawer
      id={id}
      idLabel="tenant id"
      title={tenant.data?.name ?? "Tenant"}
      badge={tenant.data && <TenantStatus of={tenant.data} />}
      tabs={tabs}
      call={{ method: "GET", path: `/api/v1/tenants/${id}` }}
      neighbours={neighbours}
      onClose={onClose}
    />
  );
}

function Overview({ of: tenant, onGone }: { of: Tenant; onGone: () => void }) {
  const may = useMay();
  const { home_tenant_id } = useSession();
  const flags = Object.entries(tenant.flags).map(([name, isOn]) => `${name}: ${isOn ? "on" : "off"}`);
  const { settings } = tenant;
  return (
    <Stack>
      <Facts
        facts={[
          ["State", tenant.is_active ? "active" : "suspended"],
          ["Told to everybody", tenant.suspension_reason],
          ["Address", tenant.email],
          ["Short name", tenant.slug],
          ["Spent this month", formatUsd(tenant.current_spend_usd)],
          ["Budget a month", tenant.monthly_budget_usd === null ? "none" : formatUsd(tenant.monthly_budget_usd)],
          ["Requests a minute", tenant.rate_limit === null ? "no limit" : formatCount(tenant.rate_limit)],
          ["Models", tenant.allowed_models?.join(", ") ?? "all"],
          ["Providers", tenant.allowed_providers?.join(", ") ?? "all"],
          ["Kept of calls", tenant.logging_policy],
          ["Second factor", tenant.require_second_factor ? "needed by everybody" : "up to each"],
          ["Addresses end in", settings.allowed_email_domains?.join(", ") ?? "anything"],
          [
            "A key lives at most",
            settings.longest_key_days ? `${formatCount(settings.longest_key_days)} days` : "for ever",
          ],
          ["Flags", flags.join(", ")],
          ["Since", <Moment key="since" at={tenant.created_at} />],
        ]}
      />
      {may("tenants:delete") && tenant.id !== home_tenant_id && <Ending of={tenant} onGone={onGone} />}
    </Stack>
  );
}

/** Nobody ends the tenant they belong to: the server refuses it, and it is not offered. */
function Ending({ of: tenant, onGone }: { of: Tenant; onGone: () => void }) {
  const changed = usePeopleChanged();
  const [reason, setReason] = useState("");
  const [asked, setAsked] = useState<"suspend" | "delete" | null>(null);
  const path = { tenant_id: tenant.id };
  const resume = $api.useMutation("post", "/api/v1/tenants/{tenant_id}/resume", {
    onSuccess: () => {
      say(`“${tenant.name}” works again.`);
      return changed();
    },
    onError: sayProblem,
  });
  const close = () => setAsked(null);
  return (
    <Stack>
      {tenant.is_active && (
        <TextInput
          label="Reason of a suspension"
          description="Told to everybody of the tenant who tries a call or signs in."
          placeholder="The invoice of March is open."
          maxLength={200}
          value={reason}
          onChange={(event) => setReason(event.currentTarget.value)}
        />
      )}
      <Group>
        {tenant.is_active ? (
          <Button color="red" variant="outline" disabled={!reason.trim()} onClick={() => setAsked("suspend")}>
            Suspend …
          </Button>
        ) : (
          <Button variant="default" loading={resume.isPending} onClick={() => resume.mutate({ params: { path } })}>
            Resume
          </Button>
        )}
        <Button color="red" variant="outline" onClick={() => setAsked("delete")}>
          Delete …
        </Button>
      </Group>
      <ConfirmByTyping
        opened={asked === "suspend"}
        onClose={close}
        title="Suspend this tenant"
        word={tenant.name}
        action="Suspend this tenant"
        onConfirm={async () => {
          await client.POST("/api/v1/tenants/{tenant_id}/suspend", {
            params: { path },
            body: { reason: reason.trim() },
          });
          setReason("");
          await changed();
          say(`“${tenant.name}” is suspended.`);
        }}
      >
        Every key and session of the tenant is refused on every worker within a second, until it is resumed.
      </ConfirmByTyping>
      <ConfirmByTyping
        opened={asked === "delete"}
        onClose={close}
        title="Delete this tenant"
        word={tenant.name}
        action="Delete this tenant"
        onConfirm={async () => {
          await client.DELETE("/api/v1/tenants/{tenant_id}", {
            params: { path, header: { "if-match": etagOf(tenant) } },
          });
          await changed();
          say(`“${tenant.name}” is gone.`);
          onGone();
        }}
      >
        Its keys are revoked and its people removed, and nothing brings them back. Its usage and its audit trail stay.
      </ConfirmByTyping>
    </Stack>
  );
}

function Edit({ of: tenant }: { of: Tenant }) {
  const form = useForm({ initialValues: formOf(tenant), validate: schemaResolver(tenantForm, { sync: true }) });
  const changed = usePeopleChanged();
  const update = $api.useMutation("patch", "/api/v1/tenants/{tenant_id}", {
    onSuccess: () => {
      say("The tenant is changed; workers follow within a second.");
      return changed();
    },
  });
  return (
    <form
      onSubmit={form.onSubmit((values) =>
        update.mutate({
          params: { path: { tenant_id: tenant.id }, header: { "if-match": etagOf(tenant) } },
          body: updateBody(values, tenant),
        }),
      )}
    >
      <Stack>
        <TenantFields form={form} />
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

export function CreateTenant({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const form = useForm({ initialValues: NEW_TENANT, validate: schemaResolver(tenantForm, { sync: true }) });
  const changed = usePeopleChanged();
  const create = $api.useMutation("post", "/api/v1/tenants", {
    onSuccess: async (tenant) => {
      await changed();
      say(`The tenant “${tenant.name}” is there; invite its first person.`);
      close();
    },
  });
  const close = () => {
    form.reset();
    create.reset();
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title="Create a tenant" size="lg">
      <form onSubmit={form.onSubmit((values) => create.mutate({ body: createBody(values) }))}>
        <Stack>
          <TenantFields form={form} />
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
    </Modal>
  );
}
