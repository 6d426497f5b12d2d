/** What a team or a project says for itself, and the rules that are on it. What holds in the end is told per key. */
import { List, Stack, Text, Title } from "@mantine/core";
import { $api } from "@/api/client";
import { formatUsd } from "@/lib/format";
import { useMay } from "@/lib/session";
import { Facts } from "@/ui/Facts";
import { Moment } from "@/ui/Moment";
import { StatusBadge } from "@/ui/StatusBadge";
import { Failed, Loading } from "@/ui/states";
import { useTenantFilter } from "@/ui/TenantFilter";
import type { Project, Team } from "./levelForm";
import { useTeamChoices } from "./teams";

export function LevelStatus({ of: level }: { of: Team | Project }) {
  return <StatusBadge tone={level.is_active ? "good" : "bad"}>{level.is_active ? "active" : "off"}</StatusBadge>;
}

export function LevelFacts({ of: level }: { of: Team | Project }) {
  const teamId = "team_id" in level ? level.team_id : null;
  const teams = useTeamChoices(teamId !== null);
  const tags = Object.entries(level.tags).map(([name, value]) => `${name}: ${String(value)}`);
  const flags = Object.entries(level.flags).map(([name, isOn]) => `${name}: ${isOn ? "on" : "off"}`);
  return (
    <Facts
      facts={[
        ["Description", level.description],
        ...("team_id" in level
          ? [["Team", teams.find(({ value }) => value === teamId)?.label ?? teamId ?? "none"] as [string, string]]
          : []),
        ["State", level.is_active ? "active" : "off: every key below is refused"],
        ["Models", level.allowed_models?.join(", ") ?? "as the level above"],
        ["Providers", level.allowed_providers?.join(", ") ?? "as the level above"],
        ["Kept of calls", level.logging_policy ?? "as the level above"],
        ["Tags", tags.join(", ")],
        ["Flags", flags.join(", ")],
        ["Since", <Moment key="since" at={level.created_at} />],
      ]}
    />
  );
}

export function RulesOn({ kind, id }: { kind: "team" | "project"; id: string }) {
  const may = useMay();
  const tenant = useTenantFilter();
  const params = { params: { query: { scope_kind: kind, scope_id: id, tenant_id: tenant, limit: 100 } } };
  const limits = $api.useQuery("get", "/api/v1/limits", params, { enabled: may("limits:view") });
  const budgets = $api.useQuery("get", "/api/v1/budgets", params, { enabled: may("budgets:view") });
  const error = limits.error ?? budgets.error;
  if (error) return <Failed error={error} onRetry={() => void Promise.all([limits.refetch(), budgets.refetch()])} />;
  if (limits.isLoading || budgets.isLoading) return <Loading rows={3} />;
  const rules = [
    ...(budgets.data?.data.map((one) => ({
      id: one.id,
      text: `${one.name}: ${formatUsd(one.amount_usd)} ${one.window === "total" ? "in all" : `a ${one.window}`}`,
    })) ?? []),
    ...(limits.data?.data.map((one) => ({
      id: one.id,
      text: `${one.name}: ${one.amount.toLocaleString("en-US")} ${one.unit.replace("_", " ")}${one.period ? ` a ${one.period}` : ""}`,
    })) ?? []),
  ];
  return (
    <Stack gap="xs">
      <Title order={3} size="h5">
        Budgets and limits on this {kind}
      </Title>
      {rules.length === 0 ? (
        <Text size="sm">None; those of the levels above and below hold.</Text>
      ) : (
        <List size="sm">
          {rules.map((rule) => (
            <List.Item key={rule.id}>{rule.text}</List.Item>
          ))}
        </List>
      )}
      <Text size="sm" c="var(--tk-faint)">
        What all levels come to is told for each key: Keys, “What holds”.
      </Text>
    </Stack>
  );
}
