/** One prompt to one or two models at once, as a key of one's own, so that its limits and guardrails hold. */
import { Anchor, Button, Group, Select, SimpleGrid, Stack, Textarea } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { Play } from "lucide-react";
import { useState } from "react";
import { $api } from "@/api/client";
import { useSession } from "@/lib/session";
import { useUrlState } from "@/lib/urlState";
import { PageHeader } from "@/ui/PageHeader";
import { Empty, Failed, Loading } from "@/ui/states";
import { Pane } from "./Pane";

const SIMULATED = "simulated";

export default function PlaygroundPage() {
  const [url, setUrl] = useUrlState();
  const { permissions } = useSession();
  const me = $api.useQuery("get", "/api/v1/me");
  const catalog = $api.useQuery(
    "get",
    "/api/v1/catalog/models",
    { params: { query: { limit: 100 } } },
    { enabled: permissions.includes("catalog:view"), staleTime: 60_000 },
  );
  const [system, setSystem] = useState("");
  const [user, setUser] = useState("");
  const [runs, setRuns] = useState(0);
  if (me.error) return <Failed error={me.error} onRetry={() => void me.refetch()} />;
  if (!me.data) return <Loading />;

  const keys = me.data.keys.filter((key) => key.status === "active" && key.scopes.includes("inference"));
  const keyId = keys.find((key) => key.id === url.get("key"))?.id ?? keys[0]?.id;
  const models = [...new Set([...(catalog.data?.data.map((model) => model.name) ?? []), SIMULATED])];
  const modelOf = (name: string) => url.get(name) ?? models[0] ?? SIMULATED;
  const isPaired = url.get("second") !== undefined;

  return (
    <>
      <PageHeader
        title="Playground"
        actions={
          <Button variant="default" onClick={() => setUrl({ second: isPaired ? null : modelOf("model") })}>
            {isPaired ? "One model" : "Compare two models"}
          </Button>
        }
      >
        Calls here are real: they are limited, guarded, logged and billed as those of the key.
      </PageHeader>
      <Stack>
        {keyId === undefined ? (
          <Empty
            title="You have no key of your own that may call models."
            action={
              <Anchor component={Link} to="/keys" underline="always">
                Create one
              </Anchor>
            }
          >
            The playground calls as a key of yours, so that its limits, budgets and guardrails hold.
          </Empty>
        ) : (
          <form
            onSubmit={(event) => {
              event.preventDefault();
              setRuns(runs + 1);
            }}
          >
            <Stack gap="sm">
              <Select
                label="Key"
                allowDeselect={false}
                data={keys.map((key) => ({ value: key.id, label: `${key.name} (${key.environment})` }))}
                value={keyId}
                onChange={(key) => setUrl({ key })}
                maw={420}
              />
              <Textarea
                label="System"
                placeholder="Optional"
                autosize
                minRows={1}
                maxRows={8}
                value={system}
                onChange={(event) => setSystem(event.currentTarget.value)}
              />
              <Textarea
                label="Prompt"
                required
                autosize
                minRows={3}
                maxRows={16}
                value={user}
                onChange={(event) => setUser(event.currentTarget.value)}
              />
              <Group>
                <Button type="submit" leftSection={<Play size={16} aria-hidden />}>
                  Run
                </Button>
              </Group>
            </Stack>
          </form>
        )}
        {keyId !== undefined && (
          <SimpleGrid cols={{ base: 1, md: isPaired ? 2 : 1 }}>
            {(isPaired ? ["model", "second"] : ["model"]).map((name, place) => (
              <Pane
                key={name}
                place={place + 1}
                models={models}
                model={modelOf(name)}
                onModel={(model) => setUrl({ [name]: model })}
                system={system}
                user={user}
                keyId={keyId}
                runs={runs}
              />
            ))}
          </SimpleGrid>
        )}
      </Stack>
    </>
  );
}
