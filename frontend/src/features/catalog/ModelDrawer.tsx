/** One model: where it leads, what it can, and the history of its price. */
import { Button, Group, Modal, Stack, Table, TagsInput, Text, TextInput } from "@mantine/core";
import { schemaResolver, useForm } from "@mantine/form";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { $api, client, etagOf, type Schemas } from "@/api/client";
import { formatCount, formatUsd, NONE } from "@/lib/format";
import { useMay } from "@/lib/session";
import { ConfirmByTyping } from "@/ui/ConfirmByTyping";
import { DetailDrawer } from "@/ui/DetailDrawer";
import { Facts } from "@/ui/Facts";
import { Moment } from "@/ui/Moment";
import { StatusBadge } from "@/ui/StatusBadge";
import { say } from "@/ui/say";
import { Failed, Loading } from "@/ui/states";
import { useCatalogChanged } from "./changes";
import { createBody, modelForm, ratesOf } from "./models";

type Model = Schemas["ModelOut"];

export function ModelDrawer({ id, neighbours, onClose }: { id: string; neighbours: string[]; onClose: () => void }) {
  const model = $api.useQuery("get", "/api/v1/catalog/models/{model_id}", { params: { path: { model_id: id } } });
  const about = model.error ? (
    <Failed error={model.error} onRetry={() => void model.refetch()} />
  ) : model.data ? (
    <About of={model.data} onGone={onClose} />
  ) : (
    <Loading />
  );
  const tabs = [{ value: "about", label: "Where it leads", content: about }];
  if (model.data) tabs.push({ value: "prices", label: "Prices", content: <Prices of={model.data} /> });
  return (
    <DetailDrawer
      id={id}
      idLabel="model id"
      title={model.data?.name ?? "Model"}
      badge={model.data?.is_active === false && <StatusBadge tone="calm">switched off</StatusBadge>}
      tabs={tabs}
      call={{ method: "GET", path: `/api/v1/catalog/models/${id}` }}
      neighbours={neighbours}
      onClose={onClose}
    />
  );
}

function About({ of: model, onGone }: { of: Model; onGone: () => void }) {
  const may = useMay();
  const changed = useCatalogChanged();
  const [isDeleting, setDeleting] = useState(false);
  const isOurs = model.managed_by === "api" && may("catalog:update");
  const version = { version: model.version ?? 0 };
  const turn = $api.useMutation("patch", "/api/v1/catalog/models/{model_id}", {
    onSuccess: (now) => {
      say(now.is_active ? "Callers may ask for it again." : "Nobody gets it any more, within a second.");
      return changed();
    },
  });
  const can = Object.entries(model.capabilities ?? {}).filter(([, value]) => value !== null);
  return (
    <Stack>
      {model.targets.length > 0 && (
        <Table aria-label="Targets, in the order they are tried">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Tried</Table.Th>
              <Table.Th>Provider</Table.Th>
              <Table.Th>Its name there</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {model.targets.map((target, index) => (
              <Table.Tr key={`${target.provider} ${target.model}`}>
                <Table.Td>{index === 0 ? "first" : `then (${index + 1})`}</Table.Td>
                <Table.Td>{target.provider}</Table.Td>
                <Table.Td style={{ overflowWrap: "anywhere" }}>
                  <code>{target.model}</code>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      <Facts
        facts={[
          ["Decided by the policy", model.policy],
          ["Seen by", model.tenant_id ?? "every tenant"],
          ["Reads", model.context_tokens == null ? null : `${formatCount(model.context_tokens)} tokens`],
          ["Writes", model.max_output_tokens == null ? null : `${formatCount(model.max_output_tokens)} tokens`],
          ["Can", can.map(([name, value]) => `${name.replaceAll("_", " ")}: ${value ? "yes" : "no"}`).join(", ")],
          ["Without a price", model.unpriced === "block" ? "calls are refused" : "calls are made, and marked"],
          ["Fields it does not know", model.drop_params === "refuse" ? "are refused" : "are left out and reported"],
          ["Defaults", Object.keys(model.defaults ?? {}).length > 0 ? JSON.stringify(model.defaults) : null],
          ["Overrides", Object.keys(model.overrides ?? {}).length > 0 ? JSON.stringify(model.overrides) : null],
          [
            "Managed by",
            model.managed_by === "api" ? "the console and the API" : `${model.managed_by}, ${model.declared_at ?? ""}`,
          ],
        ]}
      />
      {turn.error && <Failed error={turn.error} />}
      <Group>
        {may("requests:view") && (
          <Button
            variant="default"
            component={Link}
            {...({ to: "/requests", search: { model: model.name } } as object)}
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
                  params: { path: { model_id: model.id }, header: { "if-match": etagOf(version) } },
                  body: { is_active: !model.is_active },
                })
              }
            >
              {model.is_active ? "Switch it off" : "Switch it on"}
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
        title="Delete this model"
        word={model.name}
        action="Delete this model"
        onConfirm={async () => {
          await client.DELETE("/api/v1/catalog/models/{model_id}", {
            params: { path: { model_id: model.id }, header: { "if-match": etagOf(version) } },
          });
          await changed();
          say(`The model “${model.name}” is gone.`);
          onGone();
        }}
      >
        Callers who ask for it get 404 model_not_found. What was used of it stays in the ledger.
      </ConfirmByTyping>
    </Stack>
  );
}

function Prices({ of: model }: { of: Model }) {
  const { data, error, refetch } = $api.useQuery("get", "/api/v1/catalog/prices", {
    params: { query: { model: model.name, limit: 100 } },
  });
  if (error) return <Failed error={error} onRetry={() => void refetch()} />;
  if (!data) return <Loading />;
  return (
    <Stack>
      {model.price === null ? (
        <Text size="sm">It has no price{model.is_simulated ? ": simulated answers are free." : "."}</Text>
      ) : (
        <Facts facts={ratesOf(model.price).map(([name, value]) => [name, formatUsd(value)])} />
      )}
      {data.data.length > 0 && (
        <Table aria-label="History of the price">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>From</Table.Th>
              <Table.Th ta="right">Million in</Table.Th>
              <Table.Th ta="right">Million out</Table.Th>
              <Table.Th>Source</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {data.data.map((price) => (
              <Table.Tr key={price.id}>
                <Table.Td>
                  <Moment at={price.effective_at} />{" "}
                  {price.is_in_force && <StatusBadge tone="good">in force</StatusBadge>}
                </Table.Td>
                <Table.Td ta="right">{formatUsd(price.input_per_million)}</Table.Td>
                <Table.Td ta="right">{formatUsd(price.output_per_million)}</Table.Td>
                <Table.Td style={{ overflowWrap: "anywhere" }}>
                  {price.source}
                  {price.reference ? `, ${price.reference}` : ""}
                  {price.checked ? `, looked at ${price.checked}` : ""}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      {data.next_cursor && <Text size="xs">{NONE} older ones are in the API.</Text>}
    </Stack>
  );
}

export function CreateModel({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const changed = useCatalogChanged();
  const providers = $api.useQuery(
    "get",
    "/api/v1/catalog/providers",
    { params: { query: { limit: 100 } } },
    { enabled: opened, staleTime: 60_000 },
  );
  const form = useForm({
    initialValues: { name: "", targets: [] as string[], input: "", output: "" },
    validate: schemaResolver(modelForm, { sync: true }),
  });
  const create = $api.useMutation("post", "/api/v1/catalog/models", {
    onSuccess: async (model) => {
      await changed();
      say(`Callers may ask for “${model.name}” within a second.`);
      close();
    },
  });
  const close = () => {
    form.reset();
    create.reset();
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title="Name a model" size="lg">
      <form onSubmit={form.onSubmit((values) => create.mutate({ body: createBody(values) }))}>
        <Stack gap="sm">
          <TextInput label="Name" placeholder="fast" required data-autofocus {...form.getInputProps("name")} />
          <TagsInput
            label="Leads to"
            description="provider/model, in the order they are tried; Enter after each."
            placeholder="openai/gpt-5-mini"
            data={providers.data?.data.map((provider) => `${provider.name}/`) ?? []}
            {...form.getInputProps("targets")}
          />
          <Group grow align="flex-start">
            <TextInput
              label="Dollars for a million tokens in"
              placeholder="from the shipped list"
              {...form.getInputProps("input")}
            />
            <TextInput
              label="Dollars for a million tokens out"
              placeholder="from the shipped list"
              {...form.getInputProps("output")}
            />
          </Group>
          {create.error && <Failed error={create.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" loading={create.isPending}>
              Name it
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
