/** What the list is narrowed by. Each filter is one that the server has an index for. */
import { Button, MultiSelect, NumberInput, TagsInput, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { $api } from "@/api/client";
import { useMay } from "@/lib/session";
import { useUrlState } from "@/lib/urlState";
import { RangePicker } from "@/ui/RangePicker";
import { FILTERS, isFiltered } from "./filters";
import { STATUSES } from "./status";

const TYPING_MS = 350;

export function FilterBar() {
  const [url, setUrl] = useUrlState();
  const may = useMay();
  const providers = $api.useQuery(
    "get",
    "/api/v1/catalog/providers",
    { params: { query: { limit: 100 } } },
    { enabled: may("catalog:view"), staleTime: 60_000 },
  );
  const type = useDebouncedCallback((patch: Record<string, string>) => setUrl(patch, { replace: true }), TYPING_MS);
  return (
    <>
      <RangePicker />
      <MultiSelect
        label="Status"
        size="xs"
        placeholder={url.all("status").length > 0 ? undefined : "All"}
        clearable
        data={[...STATUSES]}
        value={url.all("status")}
        onChange={(status) => setUrl({ status })}
      />
      <TagsInput
        label="Model"
        size="xs"
        placeholder={url.all("model").length > 0 ? undefined : "All"}
        value={url.all("model")}
        onChange={(model) => setUrl({ model })}
        maw={260}
      />
      <MultiSelect
        label="Provider"
        size="xs"
        placeholder={url.all("provider").length > 0 ? undefined : "All"}
        clearable
        searchable
        data={providers.data?.data.map((provider) => provider.name) ?? url.all("provider")}
        value={url.all("provider")}
        onChange={(provider) => setUrl({ provider })}
      />
      <NumberInput
        label="At least, ms"
        size="xs"
        w={110}
        min={0}
        allowDecimal={false}
        defaultValue={url.get("slower") ?? ""}
        onChange={(slower) => type({ slower: String(slower) })}
      />
      <TextInput
        label="At least, $"
        size="xs"
        w={110}
        inputMode="decimal"
        defaultValue={url.get("dearer") ?? ""}
        onChange={(event) => {
          const dearer = event.currentTarget.value.trim();
          if (/^\d{0,7}(\.\d{0,9})?$/.test(dearer)) type({ dearer });
        }}
      />
      <TextInput
        key={url.get("request_id") === undefined ? "none" : "some"}
        label="Request id"
        size="xs"
        placeholder="req_… or your own"
        defaultValue={url.get("request_id") ?? ""}
        onChange={(event) => type({ request_id: event.currentTarget.value.trim() })}
      />
      {isFiltered(url) && (
        <Button
          variant="default"
          size="xs"
          onClick={() => setUrl(Object.fromEntries(FILTERS.map((name) => [name, null])))}
        >
          Clear the filters
        </Button>
      )}
    </>
  );
}
