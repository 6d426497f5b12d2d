/** Metric × group × time: the chart, its table and its export answer one and the same question. */
import {
  Anchor,
  Badge,
  Button,
  CloseButton,
  Group,
  Menu,
  Paper,
  Select,
  SimpleGrid,
  Skeleton,
  Stack,
  Text,
} from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Download, RefreshCw } from "lucide-react";
import { lazy, Suspense, useMemo, useState } from "react";
import { $api, type Schemas } from "@/api/client";
import { formatCount, formatMs, formatShare, formatUsd, zoneName } from "@/lib/format";
import { useMay, useSession } from "@/lib/session";
import { useUrlState } from "@/lib/urlState";
import { useZone } from "@/lib/zone";
import { type Column, DataTable } from "@/ui/DataTable";
import { PageHeader } from "@/ui/PageHeader";
import { Empty, Failed } from "@/ui/states";
import { CustomRange } from "./CustomRange";
import { useNames } from "./names";
import { BUCKETS, exportHref, FILTERS, GROUPS, queryOf, RANGES, readQuestion } from "./question";
import { chartOf, groupValue, METRICS, type MetricName, type Group as UsageGroup } from "./series";

const UsageChart = lazy(() => import("./UsageChart"));
const MOST_NAMED = 7;
const USAGE = "/api/v1/usage";

function options(names: Record<string, { label: string }>, hidden: string[] = []) {
  return Object.entries(names)
    .filter(([value]) => !hidden.includes(value))
    .map(([value, { label }]) => ({ value, label }));
}

export default function UsagePage() {
  const [url, setUrl] = useUrlState();
  const { zone } = useZone();
  const may = useMay();
  const isPlatform = useSession().permissions.includes("platform:all_tenants");
  const [now, setNow] = useState(() => new Date());
  const queries = useQueryClient();
  const question = useMemo(() => readQuestion(url, zone, now), [url, zone, now]);
  const chosen = url.get("metric");
  const metric: MetricName = chosen !== undefined && Object.hasOwn(METRICS, chosen) ? (chosen as MetricName) : "cost";
  const nameOf = useNames(question.group);
  const keep = { placeholderData: <T,>(before: T): T => before };
  const groups = $api.useQuery("get", USAGE, { params: { query: queryOf(question, [question.group]) } }, keep);
  const times = $api.useQuery(
    "get",
    USAGE,
    { params: { query: queryOf(question, [question.bucket, question.group]) } },
    keep,
  );
  const rows = useMemo(() => {
    const { height } = METRICS[metric];
    return [...(groups.data?.data ?? [])].sort((one, other) => height(other) - height(one));
  }, [groups.data, metric]);
  const chart = useMemo(
    () =>
      chartOf(times.data?.data ?? [], {
        bucket: question.bucket,
        group: question.group,
        metric,
        names: rows.slice(0, MOST_NAMED).map((row) => groupValue(row, question.group)),
      }),
    [times.data, question.bucket, question.group, metric, rows],
  );
  const columns = useColumns(question.group, nameOf, may("requests:view"));
  const refresh = () => {
    setNow(new Date());
    void queries.invalidateQueries({ predicate: ({ queryKey }) => queryKey[1] === USAGE });
  };

  return (
    <>
      <PageHeader
        title="Usage & cost"
        actions={
          <>
            <Button variant="default" leftSection={<RefreshCw size={16} aria-hidden />} onClick={refresh}>
              Refresh
            </Button>
            <Menu position="bottom-end">
              <Menu.Target>
                <Button variant="default" leftSection={<Download size={16} aria-hidden />}>
                  Export
                </Button>
              </Menu.Target>
              <Menu.Dropdown>
                <Menu.Item component="a" href={exportHref(question, [question.group], "csv")} download>
                  These sums as CSV
                </Menu.Item>
                <Menu.Item component="a" href={exportHref(question, [question.bucket, question.group], "csv")} download>
                  The chart as CSV
                </Menu.Item>
                <Menu.Item component="a" href={exportHref(question, [], "csv")} download>
                  Every call as CSV
                </Menu.Item>
                <Menu.Item component="a" href={exportHref(question, [], "jsonl")} download>
                  Every call as JSON lines
                </Menu.Item>
              </Menu.Dropdown>
            </Menu>
          </>
        }
      >
        What was asked for and what it cost, from the ledger. Days begin in {zoneName(zone)}.
      </PageHeader>
      <Group gap="xs" align="flex-end" mb="md">
        <Select
          label="Show"
          size="xs"
          w={150}
          allowDeselect={false}
          data={options(METRICS)}
          value={metric}
          onChange={(value) => setUrl({ metric: value })}
        />
        <Select
          label="By"
          size="xs"
          w={130}
          allowDeselect={false}
          data={options(GROUPS, isPlatform ? [] : ["tenant"])}
          value={question.group}
          onChange={(value) => setUrl({ group: value })}
        />
        <Select
          label="Period"
          size="xs"
          w={130}
          allowDeselect={false}
          data={[...options(RANGES), { value: "custom", label: "Dates …" }]}
          value={question.range}
          onChange={(value) =>
            setUrl(value === "custom" ? { from: question.since, range: null } : { range: value, from: null, to: null })
          }
        />
        {question.range === "custom" && (
          <CustomRange since={question.since} until={question.until} onChange={(from, to) => setUrl({ from, to })} />
        )}
        <Select
          label="In steps of"
          size="xs"
          w={110}
          allowDeselect={false}
          data={BUCKETS.map((one) => ({ value: one, label: one }))}
          value={question.bucket}
          onChange={(value) => setUrl({ bucket: value })}
        />
        {Object.entries(FILTERS).flatMap(([name]) =>
          url.all(name).map((value) => (
            <Badge
              key={`${name} ${value}`}
              variant="default"
              tt="none"
              size="lg"
              rightSection={
                <CloseButton
                  size="xs"
                  aria-label={`No longer only ${name} ${value}`}
                  onClick={() => setUrl({ [name]: url.all(name).filter((one) => one !== value) })}
                />
              }
            >
              {name}: {nameOf(value)}
            </Badge>
          )),
        )}
      </Group>
      {groups.error ? (
        <Failed error={groups.error} onRetry={refresh} />
      ) : (
        <Stack>
          <Totals totals={groups.data?.totals} />
          {groups.data?.is_truncated && (
            <Text size="sm" c="var(--tk-warn)">
              There are more groups than one answer holds: the sums above are of all, the list is not. Narrow the period
              or take the export.
            </Text>
          )}
          <Paper withBorder p="md">
            {times.error ? (
              <Failed error={times.error} onRetry={() => void times.refetch()} />
            ) : times.isPending ? (
              <Skeleton height={300} />
            ) : chart.rows.length === 0 ? (
              <Empty title="No call in this period.">Choose a longer one, or make a call.</Empty>
            ) : (
              <Suspense fallback={<Skeleton height={300} />}>
                <UsageChart chart={chart} metric={metric} bucket={question.bucket} zone={zone} nameOf={nameOf} />
              </Suspense>
            )}
          </Paper>
          <DataTable
            label={`Sums by ${GROUPS[question.group].label.toLowerCase()}`}
            columns={columns}
            rows={rows}
            rowId={(row) => groupValue(row, question.group)}
            query={groups}
            empty={<Empty title="Nothing was used." call={{ method: "GET", path: USAGE }} />}
          />
        </Stack>
      )}
    </>
  );
}

function Totals({ totals }: { totals: Schemas["UsageSums"] | undefined }) {
  const tiles: [string, string, string][] = totals
    ? [
        [
          "Spend",
          formatUsd(totals.cost_usd),
          totals.unpriced_requests > 0 ? `${formatCount(totals.unpriced_requests)} calls without a price` : "",
        ],
        ["Requests", formatCount(totals.requests), `${formatMs(totals.average_latency_ms)} on average`],
        ["Errors", formatShare(totals.errors, totals.requests), `${formatCount(totals.errors)} calls`],
        [
          "Tokens",
          formatCount(totals.total_tokens),
          `${formatShare(totals.cache_read_tokens, totals.prompt_tokens)} of the input from providers' caches`,
        ],
      ]
    : [];
  return (
    <SimpleGrid cols={{ base: 1, xs: 2, md: 4 }} aria-label="Totals of the period">
      {totals === undefined
        ? ["Spend", "Requests", "Errors", "Tokens"].map((name) => <Skeleton key={name} height={86} />)
        : tiles.map(([name, value, note]) => (
            <Paper key={name} withBorder p="md">
              <Text size="xs" c="var(--tk-faint)">
                {name}
              </Text>
              <Text size="xl" fw={650} style={{ overflowWrap: "anywhere" }}>
                {value}
              </Text>
              <Text size="xs" c="var(--tk-faint)">
                {note || "\u00a0"}
              </Text>
            </Paper>
          ))}
    </SimpleGrid>
  );
}

function useColumns(
  group: keyof typeof GROUPS,
  nameOf: (id: string) => string,
  maySeeRequests: boolean,
): Column<UsageGroup>[] {
  return useMemo(() => {
    const name = (row: UsageGroup) => {
      const value = groupValue(row, group);
      return <strong style={{ overflowWrap: "anywhere" }}>{nameOf(value)}</strong>;
    };
    const list: Column<UsageGroup>[] = [
      { id: "name", header: GROUPS[group].label, cell: name, isFixed: true },
      { id: "requests", header: "Requests", cell: (row) => formatCount(row.requests), align: "right" },
      { id: "errors", header: "Errors", cell: (row) => formatShare(row.errors, row.requests), align: "right" },
      { id: "input", header: "Input tokens", cell: (row) => formatCount(row.prompt_tokens), align: "right" },
      {
        id: "cached",
        header: "Of them cached",
        cell: (row) => formatShare(row.cache_read_tokens, row.prompt_tokens),
        align: "right",
        isOptional: true,
      },
      { id: "output", header: "Output tokens", cell: (row) => formatCount(row.completion_tokens), align: "right" },
      { id: "latency", header: "Average", cell: (row) => formatMs(row.average_latency_ms), align: "right" },
      { id: "cost", header: "Spend", cell: (row) => formatUsd(row.cost_usd), align: "right" },
      {
        id: "unpriced",
        header: "Without a price",
        cell: (row) => formatCount(row.unpriced_requests),
        align: "right",
        isOptional: true,
      },
    ];
    if (maySeeRequests && (group === "model" || group === "provider" || group === "key")) {
      list.push({
        id: "calls",
        header: "Calls",
        cell: (row) => (
          <Anchor
            component={Link}
            {...({ to: "/requests", search: { [group]: groupValue(row, group) } } as object)}
            size="sm"
          >
            See them
          </Anchor>
        ),
      });
    }
    return list;
  }, [group, nameOf, maySeeRequests]);
}
