/** One policy: its rules, its versions, where it holds, and who is exempt. */
import { Button, Code, Group, Modal, Select, Stack, Table, Text } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useState } from "react";
import { $api, client, etagOf } from "@/api/client";
import { useMay } from "@/lib/session";
import { ConfirmByTyping } from "@/ui/ConfirmByTyping";
import { DetailDrawer } from "@/ui/DetailDrawer";
import { Facts } from "@/ui/Facts";
import { Moment } from "@/ui/Moment";
import { StatusBadge } from "@/ui/StatusBadge";
import { say } from "@/ui/say";
import { Failed, Loading } from "@/ui/states";
import { Versions } from "@/ui/Versions";
import { PolicyFields } from "./PolicyFields";
import { bodyOf, formOf, NEW_POLICY, type Policy, policyWords, rulesFault, usePoliciesChanged } from "./policies";

function versionOf(policy: Policy) {
  return { "if-match": etagOf({ version: policy.version ?? 0 }) };
}

export function PolicyDrawer({ id, neighbours, onClose }: { id: string; neighbours: string[]; onClose: () => void }) {
  const policy = $api.useQuery("get", "/api/v1/guardrail-policies/{policy_id}", {
    params: { path: { policy_id: id } },
  });
  const may = useMay();
  const isOurs = policy.data?.managed_by === "api" && may("guardrails:update");
  const about = policy.error ? (
    <Failed error={policy.error} onRetry={() => void policy.refetch()} />
  ) : policy.data ? (
    <About of={policy.data} isOurs={isOurs} onGone={onClose} />
  ) : (
    <Loading />
  );
  const tabs = [{ value: "about", label: "Rules", content: about }];
  if (policy.data?.managed_by === "api") {
    tabs.push(
      { value: "versions", label: "Versions", content: <History of={policy.data} isOurs={isOurs} /> },
      { value: "where", label: "Where it holds", content: <Attachments of={policy.data} isOurs={isOurs} /> },
      { value: "exempt", label: "Exemptions", content: <Exemptions of={policy.data} isOurs={isOurs} /> },
    );
    if (isOurs) {
      tabs.push({ value: "edit", label: "New version", content: <Edit key={policy.data.version} of={policy.data} /> });
    }
  }
  return (
    <DetailDrawer
      id={id}
      idLabel="policy id"
      title={policy.data?.name ?? "Policy"}
      badge={policy.data && <PolicyState of={policy.data} />}
      tabs={tabs}
      call={{ method: "GET", path: `/api/v1/guardrail-policies/${id}` }}
      neighbours={neighbours}
      onClose={onClose}
    />
  );
}

export function PolicyState({ of: policy }: { of: Policy }) {
  if (policy.published_version === null) return <StatusBadge tone="calm">draft</StatusBadge>;
  return policy.mode === "monitor" ? (
    <StatusBadge tone="info">only tells</StatusBadge>
  ) : (
    <StatusBadge tone="good">in force</StatusBadge>
  );
}

function About({ of: policy, isOurs, onGone }: { of: Policy; isOurs: boolean; onGone: () => void }) {
  const changed = usePoliciesChanged();
  const [isDeleting, setDeleting] = useState(false);
  return (
    <Stack>
      {policy.description && <Text size="sm">{policy.description}</Text>}
      <Facts
        facts={[
          ["Holds", policyWords(policy)],
          ["What it finds", policy.mode === "monitor" ? "is told, and nothing is done" : "is acted on"],
          ["Input is looked at", policy.when === "during" ? "beside the call; the answer waits" : "before the call"],
          ["In force", policy.published_version === null ? "no version yet" : `version ${policy.published_version}`],
          ["Draft", policy.draft_version === null ? null : `version ${policy.draft_version}`],
          ["Texts in events", policy.keeps_text ? "kept" : "never"],
          ["Told to callers", policy.message],
          ["Of", policy.is_platform ? "the platform: no tenant can take it away" : "its tenant"],
          [
            "Managed by",
            policy.managed_by === "file" ? `the file, ${policy.declared_at ?? ""}` : "the console and the API",
          ],
        ]}
      />
      {(policy.rules?.length ?? 0) > 0 && (
        <Code block style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
          {JSON.stringify(policy.rules, null, 2)}
        </Code>
      )}
      {isOurs && (
        <Group>
          <Button color="red" variant="outline" onClick={() => setDeleting(true)}>
            Delete …
          </Button>
        </Group>
      )}
      <ConfirmByTyping
        opened={isDeleting}
        onClose={() => setDeleting(false)}
        title="Delete this policy"
        word={policy.name}
        action="Delete this policy"
        onConfirm={async () => {
          await client.DELETE("/api/v1/guardrail-policies/{policy_id}", {
            params: { path: { policy_id: policy.id }, header: versionOf(policy) },
          });
          await changed();
          say(`The policy “${policy.name}” is gone.`);
          onGone();
        }}
      >
        Wherever it holds, it stops holding within a second. Other policies go on.
      </ConfirmByTyping>
    </Stack>
  );
}

function History({ of: policy, isOurs }: { of: Policy; isOurs: boolean }) {
  const path = { policy_id: policy.id };
  const changed = usePoliciesChanged();
  const versions = $api.useQuery("get", "/api/v1/guardrail-policies/{policy_id}/versions", {
    params: { path, query: { limit: 100 } },
  });
  const done = { onSuccess: changed };
  const publish = $api.useMutation("post", "/api/v1/guardrail-policies/{policy_id}/publish", done);
  const rollBack = $api.useMutation("post", "/api/v1/guardrail-policies/{policy_id}/rollback", done);
  return (
    <Versions
      query={versions}
      words={policyWords}
      draft={policy.draft_version}
      isOurs={isOurs}
      failed={publish.error ?? rollBack.error}
      isBusy={publish.isPending || rollBack.isPending}
      onPublish={() => publish.mutate({ params: { path, header: versionOf(policy) } })}
      onRollBack={(version) => rollBack.mutate({ params: { path, header: versionOf(policy) }, body: { version } })}
    />
  );
}

const LEVELS = ["tenant", "team", "project", "key", "model"] as const;
type Level = (typeof LEVELS)[number];

function Attachments({ of: policy, isOurs }: { of: Policy; isOurs: boolean }) {
  const path = { policy_id: policy.id };
  const changed = usePoliciesChanged();
  const may = useMay();
  const list = $api.useQuery("get", "/api/v1/guardrail-policies/{policy_id}/attachments", {
    params: { path, query: { limit: 100 } },
  });
  const attach = $api.useMutation("post", "/api/v1/guardrail-policies/{policy_id}/attachments", {
    onSuccess: () => {
      say("It holds there on every worker within a second.");
      return changed();
    },
  });
  const detach = $api.useMutation("delete", "/api/v1/guardrail-policies/{policy_id}/attachments/{attachment_id}", {
    onSuccess: changed,
  });
  const [level, setLevel] = useState<Level>("tenant");
  const [named, setNamed] = useState<string | null>(null);
  const query = { params: { query: { limit: 100 } } };
  const teams = $api.useQuery("get", "/api/v1/teams", query, { enabled: level === "team" && may("teams:view") });
  const projects = $api.useQuery("get", "/api/v1/projects", query, {
    enabled: level === "project" && may("projects:view"),
  });
  const keys = $api.useQuery("get", "/api/v1/keys", query, { enabled: level === "key" && may("api_keys:view") });
  const models = $api.useQuery("get", "/api/v1/catalog/models", query, {
    enabled: level === "model" && may("catalog:view"),
  });
  if (list.error) return <Failed error={list.error} onRetry={() => void list.refetch()} />;
  if (!list.data) return <Loading />;
  const byId = (rows: { id: string; name: string }[] | undefined) =>
    rows?.map(({ id, name }) => ({ value: id, label: name })) ?? [];
  const choices = {
    tenant: [],
    team: byId(teams.data?.data),
    project: byId(projects.data?.data),
    key: byId(keys.data?.data),
    model: [...new Set(models.data?.data.map(({ name }) => name))].map((name) => ({ value: name, label: name })),
  }[level];
  const failed = attach.error ?? detach.error;
  return (
    <Stack>
      {failed && <Failed error={failed} />}
      {list.data.data.length === 0 ? (
        <Text size="sm">It holds nowhere yet.</Text>
      ) : (
        <Table>
          <Table.Tbody>
            {list.data.data.map((one) => (
              <Table.Tr key={one.id}>
                <Table.Td>{one.level}</Table.Td>
                <Table.Td style={{ overflowWrap: "anywhere" }}>
                  {one.model ?? one.key ?? one.project ?? one.team ?? one.tenant ?? "everyone"}
                </Table.Td>
                <Table.Td>
                  <Moment at={one.created_at} relative />
                </Table.Td>
                <Table.Td>
                  {isOurs && (
                    <Button
                      size="compact-xs"
                      variant="outline"
                      color="red"
                      loading={detach.isPending}
                      onClick={() => detach.mutate({ params: { path: { ...path, attachment_id: one.id } } })}
                    >
                      Take it away
                    </Button>
                  )}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      {isOurs && (
        <Group align="flex-end">
          <Select
            label="Attach it to"
            size="xs"
            allowDeselect={false}
            data={LEVELS.map((one) => ({ value: one, label: one === "tenant" ? "the whole tenant" : `a ${one}` }))}
            value={level}
            onChange={(chosen) => {
              setLevel((chosen ?? "tenant") as Level);
              setNamed(null);
            }}
          />
          {level !== "tenant" && (
            <Select label="Which" size="xs" searchable data={choices} value={named} onChange={setNamed} />
          )}
          <Button
            size="xs"
            loading={attach.isPending}
            disabled={level !== "tenant" && named === null}
            onClick={() =>
              attach.mutate({
                params: { path },
                body: level === "tenant" ? { tenant: policy.tenant_id } : { [level]: named },
              })
            }
          >
            Attach
          </Button>
        </Group>
      )}
    </Stack>
  );
}

function Exemptions({ of: policy, isOurs }: { of: Policy; isOurs: boolean }) {
  const path = { policy_id: policy.id };
  const changed = usePoliciesChanged();
  const list = $api.useQuery("get", "/api/v1/guardrail-policies/{policy_id}/exemptions", {
    params: { path, query: { limit: 100 } },
  });
  const end = $api.useMutation("delete", "/api/v1/guardrail-policies/{policy_id}/exemptions/{exemption_id}", {
    onSuccess: changed,
  });
  if (list.error) return <Failed error={list.error} onRetry={() => void list.refetch()} />;
  if (!list.data) return <Loading />;
  if (list.data.data.length === 0) return <Text size="sm">Nobody is exempt from it.</Text>;
  return (
    <Stack>
      {end.error && <Failed error={end.error} />}
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Rule</Table.Th>
            <Table.Th>Key</Table.Th>
            <Table.Th>Why</Table.Th>
            <Table.Th>Until</Table.Th>
            <Table.Th />
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {list.data.data.map((one) => (
            <Table.Tr key={one.id}>
              <Table.Td>
                {one.rule}
                {one.label ? `: ${one.label}` : ""}
              </Table.Td>
              <Table.Td style={{ overflowWrap: "anywhere" }}>{one.key}</Table.Td>
              <Table.Td>{one.reason}</Table.Td>
              <Table.Td>{one.is_expired ? "over" : <Moment at={one.expires_at} />}</Table.Td>
              <Table.Td>
                {isOurs && !one.is_expired && (
                  <Button
                    size="compact-xs"
                    variant="outline"
                    color="red"
                    onClick={() => end.mutate({ params: { path: { ...path, exemption_id: one.id } } })}
                  >
                    End it
                  </Button>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Stack>
  );
}

const VALIDATE = { rules: rulesFault };

function Edit({ of: policy }: { of: Policy }) {
  const form = useForm({ initialValues: formOf(policy), validate: VALIDATE });
  const changed = usePoliciesChanged();
  const update = $api.useMutation("patch", "/api/v1/guardrail-policies/{policy_id}", {
    onSuccess: (now) => {
      say(`Version ${now.draft_version ?? ""} is written. It holds once it is published.`);
      return changed();
    },
  });
  return (
    <form
      onSubmit={form.onSubmit((values) =>
        update.mutate({
          params: { path: { policy_id: policy.id }, header: versionOf(policy) },
          body: { ...bodyOf(values), description: values.description },
        }),
      )}
    >
      <Stack>
        <PolicyFields form={form} isNew={false} />
        {update.error && <Failed error={update.error} />}
        <Group justify="flex-end">
          <Button type="submit" loading={update.isPending} disabled={!form.isDirty()}>
            Write it
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

export function CreatePolicy({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const form = useForm({
    initialValues: NEW_POLICY,
    validate: { ...VALIDATE, name: (name) => (name.trim() ? null : "A name tells policies apart.") },
  });
  const changed = usePoliciesChanged();
  const create = $api.useMutation("post", "/api/v1/guardrail-policies", {
    onSuccess: async (policy) => {
      await changed();
      say(`“${policy.name}” is in force wherever you attach it.`);
      close();
    },
  });
  const close = () => {
    form.reset();
    create.reset();
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title="Write a policy" size="lg">
      <form
        onSubmit={form.onSubmit((values) =>
          create.mutate({
            body: { ...bodyOf(values), name: values.name.trim(), description: values.description, publish: true },
          }),
        )}
      >
        <Stack>
          <PolicyFields form={form} isNew />
          {create.error && <Failed error={create.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" loading={create.isPending}>
              Publish it
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
