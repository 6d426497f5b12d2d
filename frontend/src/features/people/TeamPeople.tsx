/** Who is in a team; putting somebody in, making a maintainer, taking somebody out. */
import { Button, Group, Select, Stack, Table, Text } from "@mantine/core";
import { useState } from "react";
import { $api, client } from "@/api/client";
import { KEYSET, useRows } from "@/lib/paging";
import { useMay } from "@/lib/session";
import { say, sayProblem } from "@/ui/say";
import { Failed, Loading } from "@/ui/states";
import { useTenantFilter } from "@/ui/TenantFilter";
import { usePeopleChanged } from "./changes";
import type { Team } from "./levelForm";

const ROLES = ["member", "maintainer"] as const;

export function TeamPeople({ of: team }: { of: Team }) {
  const may = useMay();
  const changed = usePeopleChanged();
  const list = $api.useInfiniteQuery(
    "get",
    "/api/v1/teams/{team_id}/members",
    { params: { path: { team_id: team.id }, query: {} } },
    KEYSET,
  );
  const members = useRows(list.data);
  const put = $api.useMutation("put", "/api/v1/teams/{team_id}/members/{user_id}", {
    onSuccess: (member) => {
      say(`${member.name} is in the team as its ${member.role}.`);
      return changed();
    },
    onError: sayProblem,
  });
  const remove = async (userId: string, name: string) => {
    try {
      await client.DELETE("/api/v1/teams/{team_id}/members/{user_id}", {
        params: { path: { team_id: team.id, user_id: userId } },
      });
      await changed();
      say(`${name} is in the team no more.`);
    } catch (problem) {
      sayProblem(problem);
    }
  };
  if (list.error) return <Failed error={list.error} onRetry={() => void list.refetch()} />;
  if (list.isPending) return <Loading rows={3} />;
  return (
    <Stack>
      {members.length === 0 ? (
        <Text size="sm">Nobody is in this team yet.</Text>
      ) : (
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Name</Table.Th>
              <Table.Th scope="col">In the team as</Table.Th>
              <Table.Th scope="col">Put here by</Table.Th>
              {may("teams:maintain") && <Table.Th scope="col">Change</Table.Th>}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {members.map((member) => (
              <Table.Tr key={member.user_id}>
                <Table.Td style={{ overflowWrap: "anywhere" }}>{member.email ?? member.name}</Table.Td>
                <Table.Td>{member.role}</Table.Td>
                <Table.Td>{member.source === "manual" ? "a person" : "identity provider"}</Table.Td>
                {may("teams:maintain") && (
                  <Table.Td>
                    <Button
                      size="compact-sm"
                      variant="default"
                      aria-label={`Take ${member.name} out`}
                      onClick={() => void remove(member.user_id, member.name)}
                    >
                      Take out
                    </Button>
                  </Table.Td>
                )}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      {list.hasNextPage && (
        <Button variant="default" size="xs" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
          Load more
        </Button>
      )}
      {may("teams:maintain") && may("users:view") && (
        <PutIn
          isPending={put.isPending}
          onPut={(userId, role) =>
            put.mutate({ params: { path: { team_id: team.id, user_id: userId } }, body: { role } })
          }
        />
      )}
    </Stack>
  );
}

function PutIn({
  isPending,
  onPut,
}: {
  isPending: boolean;
  onPut: (userId: string, role: (typeof ROLES)[number]) => void;
}) {
  const tenant = useTenantFilter();
  const [userId, setUserId] = useState<string | null>(null);
  const [role, setRole] = useState<(typeof ROLES)[number]>("member");
  const [typed, setTyped] = useState("");
  const q = typed.trim() || undefined;
  const users = $api.useQuery(
    "get",
    "/api/v1/users",
    { params: { query: { limit: 100, tenant_id: tenant, q } } },
    { staleTime: 60_000, placeholderData: (before) => before },
  );
  return (
    <Group align="flex-end">
      <Select
        label="Member of the tenant"
        placeholder="Name or address"
        searchable
        clearable
        // The server looks for what is typed: there may be more than one page of people.
        filter={({ options }) => options}
        searchValue={typed}
        onSearchChange={setTyped}
        data={users.data?.data.map(({ id, email, name }) => ({ value: id, label: email ?? name })) ?? []}
        value={userId}
        onChange={setUserId}
      />
      <Select
        label="As"
        allowDeselect={false}
        data={[...ROLES]}
        value={role}
        onChange={(chosen) => setRole(ROLES.find((one) => one === chosen) ?? "member")}
      />
      <Button disabled={userId === null} loading={isPending} onClick={() => userId !== null && onPut(userId, role)}>
        Put in the team
      </Button>
    </Group>
  );
}
