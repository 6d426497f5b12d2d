/** One route policy: its tree drawn, its terms, and its versions. */
import { Button, Code, Group, JsonInput, Stack, Text, Title } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { $api, client, etagOf, type Schemas } from "@/api/client";
import { useMay } from "@/lib/session";
import { ConfirmByTyping } from "@/ui/ConfirmByTyping";
import { DetailDrawer } from "@/ui/DetailDrawer";
import { Facts } from "@/ui/Facts";
import { StatusBadge } from "@/ui/StatusBadge";
import { say } from "@/ui/say";
import { Failed, Loading } from "@/ui/states";
import { Versions } from "@/ui/Versions";
import { FALLBACKS, type Policy, strategyWords } from "./branches";
import { Tree } from "./Tree";

const TERMS = [
  "strategy",
  "branches",
  "sticky_by",
  "canary",
  "fallbacks",
  "retry",
  "deadlines",
  "hedge",
  "breaker",
  "probe_seconds",
] as const;

export function usePoliciesChanged(): () => Promise<void> {
  const queries = useQueryClient();
  return () =>
    queries.invalidateQueries({
      predicate: ({ queryKey }) => String(queryKey[1]).startsWith("/api/v1/route-policies"),
    });
}

function versionOf(policy: Policy) {
  return { "if-match": etagOf({ version: policy.version ?? 0 }) };
}

function termsOf(policy: Policy): Record<string, unknown> {
  return Object.fromEntries(TERMS.map((name) => [name, policy[name]]).filter(([, value]) => value !== undefined));
}

export function PolicyDrawer({ id, neighbours, onClose }: { id: string; neighbours: string[]; onClose: () => void }) {
  const policy = $api.useQuery("get", "/api/v1/route-policies/{policy_id}", { params: { path: { policy_id: id } } });
  const may = useMay();
  const isOurs = policy.data?.managed_by === "api" && may("catalog:update");
  const drawn = policy.error ? (
    <Failed error={policy.error} onRetry={() => void policy.refetch()} />
  ) : policy.data ? (
    <Drawn of={policy.data} isOurs={isOurs} onGone={onClose} />
  ) : (
    <Loading />
  );
  const tabs = [{ value: "tree", label: "Where calls go", content: drawn }];
  if (policy.data) {
    const terms = (
      <Code block style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
        {JSON.stringify(termsOf(policy.data), null, 2)}
      </Code>
    );
    tabs.push({ value: "terms", label: "As JSON", content: terms });
    if (policy.data.managed_by === "api") {
      tabs.push({ value: "versions", label: "Versions", content: <History of={policy.data} isOurs={isOurs} /> });
    }
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
      call={{ method: "GET", path: `/api/v1/route-policies/${id}` }}
      neighbours={neighbours}
      onClose={onClose}
    />
  );
}

export function PolicyState({ of: policy }: { of: Policy }) {
  if (policy.managed_by === "api" && policy.published_version === null)
    return <StatusBadge tone="calm">draft</StatusBadge>;
  return <StatusBadge tone="good">in force</StatusBadge>;
}

function Drawn({ of: policy, isOurs, onGone }: { of: Policy; isOurs: boolean; onGone: () => void }) {
  const changed = usePoliciesChanged();
  const [isDeleting, setDeleting] = useState(false);
  return (
    <Stack>
      {policy.description && <Text size="sm">{policy.description}</Text>}
      <Text size="sm">Calls go {strategyWords(policy.strategy)}.</Text>
      <Tree branches={policy.branches} strategy={policy.strategy ?? null} />
      {(Object.keys(FALLBACKS) as (keyof typeof FALLBACKS)[]).map((kind) => {
        const branches = policy.fallbacks?.[kind] ?? [];
        if (branches.length === 0) return null;
        return (
          <div key={kind}>
            <Title order={3} size="h5" mb="xs">
              Instead, {FALLBACKS[kind]}
            </Title>
            <Tree branches={branches} strategy="priority" />
          </div>
        );
      })}
      <Facts
        facts={[
          ["Sticky by", policy.sticky_by],
          [
            "Hedged",
            policy.hedge
              ? `after ${policy.hedge.after_seconds ?? "the usual time"} s, at most ${policy.hedge.share ?? ""} of calls`
              : "no",
          ],
          ["Attempts at one target", policy.retry?.most_attempts],
          ["Probed", policy.probe_seconds ? `every ${policy.probe_seconds} s` : "by calls alone"],
          [
            "Managed by",
            policy.managed_by === "api"
              ? "the console and the API"
              : `${policy.managed_by}, ${policy.declared_at ?? ""}`,
          ],
        ]}
      />
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
          await client.DELETE("/api/v1/route-policies/{policy_id}", {
            params: { path: { policy_id: policy.id }, header: versionOf(policy) },
          });
          await changed();
          say(`The policy “${policy.name}” is gone.`);
          onGone();
        }}
      >
        One that a model or another policy leads to cannot be deleted: lead them elsewhere first.
      </ConfirmByTyping>
    </Stack>
  );
}

function History({ of: policy, isOurs }: { of: Policy; isOurs: boolean }) {
  const path = { policy_id: policy.id };
  const changed = usePoliciesChanged();
  const versions = $api.useQuery("get", "/api/v1/route-policies/{policy_id}/versions", {
    params: { path, query: { limit: 100 } },
  });
  const done = { onSuccess: changed };
  const publish = $api.useMutation("post", "/api/v1/route-policies/{policy_id}/publish", done);
  const rollBack = $api.useMutation("post", "/api/v1/route-policies/{policy_id}/rollback", done);
  return (
    <Versions
      query={versions}
      words={(version) => strategyWords(version.strategy)}
      draft={policy.draft_version}
      isOurs={isOurs}
      failed={publish.error ?? rollBack.error}
      isBusy={publish.isPending || rollBack.isPending}
      onPublish={() => publish.mutate({ params: { path, header: versionOf(policy) } })}
      onRollBack={(version) => rollBack.mutate({ params: { path, header: versionOf(policy) }, body: { version } })}
    />
  );
}

function Edit({ of: policy }: { of: Policy }) {
  const changed = usePoliciesChanged();
  const before = JSON.stringify(termsOf(policy), null, 2);
  const [text, setText] = useState(before);
  const update = $api.useMutation("patch", "/api/v1/route-policies/{policy_id}", {
    onSuccess: (now) => {
      say(`Version ${now.draft_version ?? ""} is written. It holds once it is published.`);
      return changed();
    },
  });
  let terms: Schemas["RoutePolicyUpdate"] | null = null;
  try {
    terms = JSON.parse(text) as Schemas["RoutePolicyUpdate"];
  } catch {
    // The field says so.
  }
  return (
    <Stack>
      <JsonInput
        label="The policy"
        description="Faults are told with their path when it is written; calls go on by the version in force."
        autosize
        minRows={10}
        maxRows={28}
        formatOnBlur
        value={text}
        error={terms === null ? "This is no JSON." : null}
        onChange={setText}
      />
      {update.error && <Failed error={update.error} />}
      <Group justify="flex-end">
        <Button
          disabled={terms === null || text === before}
          loading={update.isPending}
          onClick={() =>
            terms !== null &&
            update.mutate({ params: { path: { policy_id: policy.id }, header: versionOf(policy) }, body: terms })
          }
        >
          Write it
        </Button>
      </Group>
    </Stack>
  );
}
