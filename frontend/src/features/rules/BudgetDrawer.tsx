/** One budget: what is spent, held and left, where it will end, who spent it, and its terms. */
import { Alert, Button, Group, Modal, Skeleton, Stack, Table, Text, Title } from "@mantine/core";
import { schemaResolver, useForm } from "@mantine/form";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense, useMemo, useState } from "react";
import { $api, client, etagOf, type Schemas } from "@/api/client";
import { chartNumber, formatCount, formatUsd } from "@/lib/format";
import { useMay } from "@/lib/session";
import { useZone } from "@/lib/zone";
import { ConfirmByTyping } from "@/ui/ConfirmByTyping";
import { DetailDrawer } from "@/ui/DetailDrawer";
import { Facts } from "@/ui/Facts";
import { Moment } from "@/ui/Moment";
import { StatusBadge } from "@/ui/StatusBadge";
import { say } from "@/ui/say";
import { Failed, Loading } from "@/ui/states";
import { useTenantFilter } from "@/ui/TenantFilter";
import { BudgetBar } from "./BudgetBar";
import { BudgetFields } from "./BudgetFields";
import { type Budget, budgetForm, createBody, formOf, NEW_BUDGET, updateBody } from "./budgetForm";
import { burnDown } from "./burnDown";
import { useRulesChanged } from "./changes";
import { useScopeNames } from "./names";
import { scopeWords, titleOf, usageFilter } from "./scope";

const BurnDownChart = lazy(() => import("./BurnDownChart"));
type Status = Schemas["BudgetStatus"];
const LIVE = { refetchInterval: 10_000 };
// Below it an hour's step tells more than a day's.
const SHORT_MS = 3 * 86_400_000;

export function BudgetDrawer({ id, neighbours, onClose }: { id: string; neighbours: string[]; onClose: () => void }) {
  const path = { params: { path: { budget_id: id } } };
  const budget = $api.useQuery("get", "/api/v1/budgets/{budget_id}", path);
  const status = $api.useQuery("get", "/api/v1/budgets/{budget_id}/status", path, LIVE);
  const may = useMay();
  const failed = budget.error ?? status.error;
  const now =
    failed != null ? (
      <Failed error={failed} onRetry={() => void Promise.all([budget.refetch(), status.refetch()])} />
    ) : budget.data && status.data ? (
      <Now of={budget.data} status={status.data} />
    ) : (
      <Loading />
    );
  const tabs = [
    { value: "now", label: "Now", content: now },
    { value: "holds", label: "Open holds", content: <Holds id={id} /> },
  ];
  if (budget.data) {
    tabs.push({ value: "terms", label: "Terms", content: <Terms of={budget.data} onGone={onClose} /> });
    if (may("budgets:update") && budget.data.managed_by === "api" && budget.data.origin === null) {
      tabs.push({ value: "edit", label: "Edit", content: <Edit key={budget.data.version} of={budget.data} /> });
    }
  }
  return (
    <DetailDrawer
      id={id}
      idLabel="budget id"
      title={budget.data ? titleOf(budget.data) : "Budget"}
      badge={
        budget.data && (
          <StatusBadge tone={budget.data.mode === "hard" ? "info" : "calm"}>{budget.data.mode}</StatusBadge>
        )
      }
      tabs={tabs}
      call={{ method: "GET", path: `/api/v1/budgets/${id}/status` }}
      neighbours={neighbours}
      onClose={onClose}
    />
  );
}

function Now({ of: budget, status }: { of: Budget; status: Status }) {
  const { runs_out_at: runsOut, window_usd: comesTo } = status.forecast;
  return (
    <Stack>
      <BudgetBar status={status} />
      <Facts
        facts={[
          ["Left", formatUsd(status.remaining_usd)],
          ["Held for calls under way", formatUsd(status.held_usd)],
          ["Spent an hour, of late", formatUsd(status.burn_rate_usd_per_hour)],
          ["The window comes to", comesTo === null ? null : formatUsd(comesTo)],
          ["Runs out", runsOut === null ? "not in this window" : <Moment key="out" at={runsOut} relative />],
          ["Window began", <Moment key="began" at={status.window_start} />],
          ["Begins anew", status.window_end === null ? "never" : <Moment key="anew" at={status.window_end} />],
          ["Passed marks", status.thresholds_passed.map((percent) => `${percent} %`).join(", ") || "none"],
        ]}
      />
      {!status.is_live && (
        <Alert color="yellow" variant="light">
          The counters cannot be read at the moment: this is what the ledger has.
        </Alert>
      )}
      <BurnDown of={budget} status={status} />
      <Subjects of={budget} subjects={status.subjects} />
    </Stack>
  );
}

function BurnDown({ of: budget, status }: { of: Budget; status: Status }) {
  const { zone } = useZone();
  const filter = usageFilter(budget.scope);
  const start = status.window_start === null ? null : new Date(status.window_start).getTime();
  const end = status.window_end === null ? null : new Date(status.window_end).getTime();
  // What was spent before it was given does not count.
  const from = [status.window_start ?? "", budget.counts_from].sort().at(-1) ?? "";
  const isDrawn = filter !== null && start !== null && end !== null && budget.models === null && !budget.is_per_model;
  const step = isDrawn && end - start <= SHORT_MS ? "hour" : "day";
  const usage = $api.useQuery(
    "get",
    "/api/v1/usage",
    { params: { query: { from, group_by: [step], tz: budget.time_zone, ...filter } } },
    { enabled: isDrawn },
  );
  const burns = useMemo(
    () =>
      usage.data && start !== null && end !== null
        ? burnDown(usage.data.data, { start, end, amount: status.amount_usd, now: Date.now() })
        : null,
    [usage.data, start, end, status.amount_usd],
  );
  if (!isDrawn) return null;
  if (usage.error) return <Failed error={usage.error} onRetry={() => void usage.refetch()} />;
  if (burns === null) return <Skeleton height={220} />;
  return (
    <Suspense fallback={<Skeleton height={220} />}>
      <BurnDownChart burns={burns} amount={chartNumber(status.amount_usd)} zone={zone} />
    </Suspense>
  );
}

function Subjects({ of: budget, subjects }: { of: Budget; subjects: Status["subjects"] }) {
  const { named } = useScopeNames();
  const filter = usageFilter(budget.scope);
  return (
    <>
      {subjects.length > 0 && (
        <Table>
          <caption>
            <Title order={3} size="h5" ta="left">
              Who spent it
            </Title>
          </caption>
          <Table.Tbody>
            {subjects.map(({ subject, spent_usd: spent }) => (
              <Table.Tr key={subject ?? ""}>
                <Table.Td style={{ overflowWrap: "anywhere" }}>
                  {subject === null ? "nobody named" : named(subject)}
                </Table.Td>
                <Table.Td ta="right">{formatUsd(spent)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      {filter !== null && (
        <Group>
          <Button
            variant="default"
            component={Link}
            {...({ to: "/usage", search: { ...linkOf(filter), group: "model", range: "30d" } } as object)}
          >
            What it was spent on
          </Button>
        </Group>
      )}
    </>
  );
}

/** The usage page's own names of filters. */
function linkOf(filter: Record<string, string[]>): Record<string, string[]> {
  const named: Record<string, string> = {
    api_key_id: "key",
    team_id: "team",
    project_id: "project",
    user_id: "user",
  };
  return Object.fromEntries(
    Object.entries(filter)
      .filter(([name]) => name !== "tag")
      .map(([name, value]) => [named[name] ?? name, value]),
  );
}

function Holds({ id }: { id: string }) {
  const { data, error, refetch } = $api.useQuery(
    "get",
    "/api/v1/budgets/{budget_id}/holds",
    { params: { path: { budget_id: id }, query: { limit: 100 } } },
    LIVE,
  );
  if (error) return <Failed error={error} onRetry={() => void refetch()} />;
  if (!data) return <Loading />;
  if (data.data.length === 0) return <Text size="sm">Nothing is held: no call is under way.</Text>;
  return (
    <Table>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Call</Table.Th>
          <Table.Th>Model</Table.Th>
          <Table.Th ta="right">Held</Table.Th>
          <Table.Th ta="right">For</Table.Th>
          <Table.Th>Worker</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {data.data.map((hold) => (
          <Table.Tr key={`${hold.request_id} ${hold.amount_usd}`}>
            <Table.Td style={{ overflowWrap: "anywhere" }}>
              <code>{hold.request_id}</code>
            </Table.Td>
            <Table.Td>{hold.model}</Table.Td>
            <Table.Td ta="right">{formatUsd(hold.amount_usd)}</Table.Td>
            <Table.Td ta="right">{formatCount(Math.round(hold.age_seconds))} s</Table.Td>
            <Table.Td>{hold.is_settled ? "over; the ledger gets it shortly" : hold.owner}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Terms({ of: budget, onGone }: { of: Budget; onGone: () => void }) {
  const may = useMay();
  const { named } = useScopeNames();
  const changed = useRulesChanged();
  const [isDeleting, setDeleting] = useState(false);
  const isOurs = budget.managed_by === "api" && budget.origin === null;
  return (
    <Stack>
      <Facts
        facts={[
          ["Counts the calls of", scopeWords(budget.scope, named)],
          ["Models", budget.models?.join(", ") ?? "all"],
          ["Each model apart", budget.is_per_model ? "yes" : "no"],
          ["Amount", formatUsd(budget.amount_usd)],
          ["Window", budget.window === "custom" ? `${formatCount(budget.window_seconds)} s` : budget.window],
          ["Days begin in", budget.time_zone],
          ["Rolls over", budget.rolls_over ? "yes" : "no"],
          ["Refused with", budget.mode === "hard" ? budget.refusal_status : "nothing"],
          ["Tells at", budget.thresholds.map((percent) => `${percent} %`).join(", ")],
          ["More for a while", budget.increase_usd && formatUsd(budget.increase_usd)],
          ["Until", budget.increase_until && <Moment key="until" at={budget.increase_until} />],
          ["Counts from", <Moment key="from" at={budget.counts_from} />],
          [
            "Managed by",
            budget.managed_by === "file"
              ? `the file, ${budget.declared_at ?? ""}`
              : (budget.origin ?? "the console and the API"),
          ],
        ]}
      />
      {isOurs && may("budgets:delete") && (
        <Group>
          <Button color="red" variant="outline" onClick={() => setDeleting(true)}>
            Delete …
          </Button>
        </Group>
      )}
      <ConfirmByTyping
        opened={isDeleting}
        onClose={() => setDeleting(false)}
        title="Delete this budget"
        word={budget.name}
        action="Delete this budget"
        onConfirm={async () => {
          await client.DELETE("/api/v1/budgets/{budget_id}", {
            params: { path: { budget_id: budget.id }, header: { "if-match": etagOf(budget) } },
          });
          await changed();
          say(`The budget “${budget.name}” is gone.`);
          onGone();
        }}
      >
        Nothing holds these calls back any more, within a second and on every worker. What is held for calls under way
        is settled all the same.
      </ConfirmByTyping>
    </Stack>
  );
}

function Edit({ of: budget }: { of: Budget }) {
  const form = useForm({ initialValues: formOf(budget), validate: schemaResolver(budgetForm, { sync: true }) });
  const changed = useRulesChanged();
  const update = $api.useMutation("patch", "/api/v1/budgets/{budget_id}", {
    onSuccess: () => {
      say("The budget is changed; workers follow within a second.");
      return changed();
    },
  });
  return (
    <form
      onSubmit={form.onSubmit((values) =>
        update.mutate({
          params: { path: { budget_id: budget.id }, header: { "if-match": etagOf(budget) } },
          body: updateBody(values, budget),
        }),
      )}
    >
      <Stack>
        <BudgetFields form={form} isNew={false} />
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

export function CreateBudget({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const form = useForm({ initialValues: NEW_BUDGET, validate: schemaResolver(budgetForm, { sync: true }) });
  const changed = useRulesChanged();
  const tenant = useTenantFilter();
  const create = $api.useMutation("post", "/api/v1/budgets", {
    onSuccess: async (budget) => {
      await changed();
      say(`The budget “${budget.name}” holds on every worker within a second.`);
      close();
    },
  });
  const close = () => {
    form.reset();
    create.reset();
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title="Give a budget" size="lg">
      <form
        onSubmit={form.onSubmit((values) =>
          create.mutate({ body: { ...createBody(values), ...(tenant && { tenant_id: tenant }) } }),
        )}
      >
        <Stack>
          <BudgetFields form={form} isNew />
          {create.error && <Failed error={create.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" loading={create.isPending}>
              Give it
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
