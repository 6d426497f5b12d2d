/** One provider: how it is, where it is, its credentials, and a test. */
import { Button, Group, Stack } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { $api, client, etagOf, type Schemas } from "@/api/client";
import { useMay } from "@/lib/session";
import { ConfirmByTyping } from "@/ui/ConfirmByTyping";
import { DetailDrawer } from "@/ui/DetailDrawer";
import { Facts } from "@/ui/Facts";
import { Moment } from "@/ui/Moment";
import { StatusBadge } from "@/ui/StatusBadge";
import { say } from "@/ui/say";
import { Failed, Loading } from "@/ui/states";
import { Credentials } from "./Credentials";
import { useCatalogChanged } from "./changes";
import type { Target } from "./health";
import { ProviderTest } from "./ProviderTest";
import { TargetsTable } from "./TargetsTable";

type Provider = Schemas["ProviderOut"];

export function ProviderDrawer({
  id,
  targets,
  neighbours,
  onClose,
}: {
  id: string;
  targets: Target[];
  neighbours: string[];
  onClose: () => void;
}) {
  const provider = $api.useQuery("get", "/api/v1/catalog/providers/{provider_id}", {
    params: { path: { provider_id: id } },
  });
  const may = useMay();
  const names = new Map(provider.data?.credentials?.map((one) => [one.id, one.name]));
  const credentialName = (one: string) => names.get(one) ?? one;
  const isOurs = provider.data?.managed_by === "api" && may("catalog:update");
  const health = provider.error ? (
    <Failed error={provider.error} onRetry={() => void provider.refetch()} />
  ) : provider.data ? (
    <Stack>
      <TargetsTable
        targets={targets.filter((target) => target.provider === provider.data.name)}
        credentialName={credentialName}
      />
      {may("catalog:update") && <ProviderTest id={id} credentialName={credentialName} />}
    </Stack>
  ) : (
    <Loading />
  );
  const tabs = [{ value: "health", label: "Health", content: health }];
  if (provider.data) {
    tabs.push(
      { value: "about", label: "Where it is", content: <About of={provider.data} isOurs={isOurs} onGone={onClose} /> },
      { value: "credentials", label: "Credentials", content: <Credentials of={provider.data} isOurs={isOurs} /> },
    );
  }
  return (
    <DetailDrawer
      id={id}
      idLabel="provider id"
      title={provider.data?.name ?? "Provider"}
      badge={provider.data?.is_active === false && <StatusBadge tone="calm">switched off</StatusBadge>}
      tabs={tabs}
      call={{ method: "GET", path: `/api/v1/catalog/providers/${id}` }}
      neighbours={neighbours}
      onClose={onClose}
    />
  );
}

function About({ of: provider, isOurs, onGone }: { of: Provider; isOurs: boolean; onGone: () => void }) {
  const may = useMay();
  const changed = useCatalogChanged();
  const [isDeleting, setDeleting] = useState(false);
  const version = { version: provider.version ?? 0 };
  const turn = $api.useMutation("patch", "/api/v1/catalog/providers/{provider_id}", {
    onSuccess: (now) => {
      say(now.is_active ? "Calls may go there again." : "No new call goes there; those under way end as they would.");
      return changed();
    },
  });
  const timeouts = Object.entries(provider.timeouts ?? {}).filter(([, seconds]) => seconds !== null);
  return (
    <Stack>
      <Facts
        facts={[
          ["Kind", provider.kind],
          ["Base URL", provider.base_url && <code key="url">{provider.base_url}</code>],
          ["Further headers", provider.header_names?.join(", ")],
          [
            "Deadlines",
            timeouts.map(([name, seconds]) => `${name.replaceAll("_", " ")} ${String(seconds)} s`).join(", "),
          ],
          ["Options", Object.keys(provider.options ?? {}).length > 0 ? JSON.stringify(provider.options) : null],
          ["Own network allowed", provider.allow_private_address ? "yes" : "no"],
          ["Through a proxy", provider.has_proxy ? "yes" : "no"],
          [
            "Managed by",
            provider.managed_by === "api"
              ? "the console and the API"
              : `${provider.managed_by}, ${provider.declared_at ?? ""}`,
          ],
          ["Changed", provider.updated_at && <Moment key="changed" at={provider.updated_at} />],
        ]}
      />
      {turn.error && <Failed error={turn.error} />}
      <Group>
        {may("requests:view") && (
          <Button
            variant="default"
            component={Link}
            {...({ to: "/requests", search: { provider: provider.name } } as object)}
          >
            Its requests
          </Button>
        )}
        {isOurs && (
          <>
            <Button
              variant="default"
              loading={turn.isPending}
              onClick={() =>
                turn.mutate({
                  params: { path: { provider_id: provider.id }, header: { "if-match": etagOf(version) } },
                  body: { is_active: !provider.is_active },
                })
              }
            >
              {provider.is_active ? "Drain: send nothing new" : "Switch it on"}
            </Button>
            <Button color="red" variant="outline" onClick={() => setDeleting(true)}>
              Delete …
            </Button>
          </>
        )}
      </Group>
      <ConfirmByTyping
        opened={isDeleting}
        onClose={() => setDeleting(false)}
        title="Delete this provider"
        word={provider.name}
        action="Delete this provider"
        onConfirm={async () => {
          await client.DELETE("/api/v1/catalog/providers/{provider_id}", {
            params: { path: { provider_id: provider.id }, header: { "if-match": etagOf(version) } },
          });
          await changed();
          say(`The provider “${provider.name}” is gone.`);
          onGone();
        }}
      >
        Models that lead only there answer nobody any more. Its credentials are forgotten.
      </ConfirmByTyping>
    </Stack>
  );
}
