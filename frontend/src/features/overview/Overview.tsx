/** The last day at a glance: four figures, what is broken, who uses most; and what is left to set up. */
import { Anchor, Grid, Paper, SimpleGrid, Stack, Table, Text, Title } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import { $api } from "@/api/client";
import { formatCount, formatMs, formatShare, formatUsd } from "@/lib/format";
import { useMay, useSession } from "@/lib/session";
import { PageHeader } from "@/ui/PageHeader";
import { Failed, Loading } from "@/ui/states";
import { Tile } from "@/ui/Tile";
import { Checklist } from "./Checklist";
import { Incidents } from "./Incidents";
import { change, hourly, type Report, SERIES } from "./series";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const REFRESH_MS = 30_000;
const MOST_ROWS = 8;

function useDays() {
  const minute = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;
  return useMemo(() => {
    const at = (ms: number) => new Date(ms).toISOString();
    return { from: at(minute - DAY_MS), before: at(minute - 2 * DAY_MS) };
  }, [minute]);
}

export function Overview() {
  const { tenant, home } = useSession();
  const may = useMay();
  const { from, before } = useDays();
  const seesUsage = may("usage:view");
  const options = {
    enabled: seesUsage,
    refetchInterval: REFRESH_MS,
    placeholderData: (kept: Report | undefined) => kept,
  };
  const usage = (query: { from: string; to?: string; group_by: string[]; percentiles?: boolean }) => ({
    params: { query },
  });
  const day = $api.useQuery("get", "/api/v1/usage", usage({ from, group_by: ["hour"], percentiles: true }), options);
  const dayBefore = $api.useQuery(
    "get",
    "/api/v1/usage",
    usage({ from: before, to: from, group_by: ["hour"], percentiles: true }),
    options,
  );
  const models = $api.useQuery("get", "/api/v1/usage", usage({ from, group_by: ["model"] }), options);
  const keys = $api.useQuery("get", "/api/v1/usage", usage({ from, group_by: ["key"] }), options);
  const names = $api.useQuery(
    "get",
    "/api/v1/keys",
    { params: { query: { limit: 100 } } },
    { enabled: may("api_keys:view") },
  );
  const nameOf = (id: string) => names.data?.data.find((key) => key.id === id)?.name ?? id;

  const now = day.data?.totals;
  const past = dayBefore.data?.totals;
  const calls = may("requests:view") ? "/requests" : undefined;
  return (
    <>
      <PageHeader title="Overview">
        {home === "platform" ? "All tenants, the last 24 hours." : `${tenant.name}, the last 24 hours.`}
      </PageHeader>
      <Stack gap="lg">
        <Checklist />
        {day.error ? <Failed error={day.error} onRetry={() => void day.refetch()} /> : null}
        {seesUsage && (
          <SimpleGrid cols={{ base: 1, xs: 2, lg: 4 }}>
            <Tile
              name="Requests"
              value={now && formatCount(now.requests)}
              note={now && past && change(now.requests, past.requests)}
              series={hourly(day.data, SERIES.requests)}
              to={calls}
            />
            <Tile
              name="Errors"
              value={now && formatShare(now.errors, now.requests)}
              note={past && `the day before: ${formatShare(past.errors, past.requests)}`}
              series={hourly(day.data, SERIES.errors)}
              to={calls}
              search={{ status: "error" }}
            />
            <Tile
              name="p95 latency"
              value={now && formatMs(now.requests > 0 ? now.p95_latency_ms : null)}
              note={past && `the day before: ${formatMs(past.requests > 0 ? past.p95_latency_ms : null)}`}
              series={hourly(day.data, SERIES.p95)}
              to={calls}
              search={now?.p95_latency_ms ? { slower: String(now.p95_latency_ms) } : {}}
            />
            <Tile
              name="Spend"
              value={now && formatUsd(now.cost_usd)}
              note={past && `the day before: ${formatUsd(past.cost_usd)}`}
              series={hourly(day.data, SERIES.spend)}
              to="/usage"
            />
          </SimpleGrid>
        )}
        {may("router:view") && <Incidents />}
        {seesUsage && (
          <Grid>
            <Grid.Col span={{ base: 12, md: 6 }}>
              <Top
                title="Top models"
                of={models.data}
                name={(group) => group.model ?? ""}
                search={(group) => ({ model: group.model ?? "" })}
              />
            </Grid.Col>
            <Grid.Col span={{ base: 12, md: 6 }}>
              <Top
                title="Top keys"
                of={keys.data}
                name={(group) => nameOf(group.api_key_id ?? "")}
                search={(group) => ({ key: group.api_key_id ?? "" })}
              />
            </Grid.Col>
          </Grid>
        )}
      </Stack>
    </>
  );
}

type Group = Report["data"][number];

function Top({
  title,
  of: report,
  name,
  search,
}: {
  title: string;
  of: Report | undefined;
  name: (group: Group) => string;
  search: (group: Group) => Record<string, string>;
}) {
  const may = useMay();
  return (
    <Paper withBorder p="md">
      <Title order={2} size="h5" mb="xs">
        {title}
      </Title>
      {!report ? (
        <Loading rows={4} />
      ) : report.data.length === 0 ? (
        <Text size="sm" c="var(--tk-faint)">
          No call in the last 24 hours.
        </Text>
      ) : (
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Name</Table.Th>
              <Table.Th ta="right">Requests</Table.Th>
              <Table.Th ta="right">Spend</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {report.data.slice(0, MOST_ROWS).map((group) => (
              <Table.Tr key={name(group)}>
                <Table.Td style={{ overflowWrap: "anywhere" }}>
                  {may("requests:view") ? (
                    <Anchor
                      component={Link}
                      inherit
                      underline="always"
                      {...({ to: "/requests", search: search(group) } as object)}
                    >
                      {name(group)}
                    </Anchor>
                  ) : (
                    name(group)
                  )}
                </Table.Td>
                <Table.Td ta="right">{formatCount(group.requests)}</Table.Td>
                <Table.Td ta="right">{formatUsd(group.cost_usd)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </Paper>
  );
}
