/** Ctrl/⌘ K: pages, tenants to switch to, keys by name, and a pasted request id. */
import { Spotlight, type SpotlightActionData } from "@mantine/spotlight";
import { useNavigate } from "@tanstack/react-router";
import { Building2, KeyRound, Logs, Search } from "lucide-react";
import { useMemo, useState } from "react";
import { $api } from "@/api/client";
import { useSession } from "@/lib/session";
import { reachablePages } from "./registry";
import { useSwitchTenant } from "./TenantSwitcher";

const REQUEST_ID = /^(req_)?[0-9a-f]{6,32}$/i;
const MOST_KEYS = 100;

export function Palette() {
  const session = useSession();
  const navigate = useNavigate();
  const switchTenant = useSwitchTenant();
  const [query, setQuery] = useState("");
  const [isOpen, setOpen] = useState(false);
  const seesKeys = session.permissions.includes("api_keys:view");
  const keys = $api.useQuery(
    "get",
    "/api/v1/keys",
    { params: { query: { limit: MOST_KEYS } } },
    { enabled: isOpen && seesKeys },
  );

  const actions = useMemo<SpotlightActionData[]>(() => {
    const found: SpotlightActionData[] = reachablePages(session)
      .filter((page) => !page.path.includes("$"))
      .map((page) => ({
        id: `page ${page.path}`,
        label: page.title,
        description: page.section || undefined,
        keywords: page.words,
        leftSection: <page.icon size={18} aria-hidden />,
        onClick: () => void navigate({ to: page.path }),
      }));
    for (const tenant of session.tenants.filter((one) => !one.is_current)) {
      found.push({
        id: `tenant ${tenant.id}`,
        label: `Switch to ${tenant.name}`,
        description: tenant.role,
        leftSection: <Building2 size={18} aria-hidden />,
        onClick: () => void switchTenant(tenant.id),
      });
    }
    for (const key of keys.data?.data ?? []) {
      found.push({
        id: `key ${key.id}`,
        label: key.name,
        description: `Key ${key.display_prefix}…${key.last_four}`,
        keywords: key.id,
        leftSection: <KeyRound size={18} aria-hidden />,
        onClick: () => void navigate({ to: "/keys", search: { open: key.id } as never }),
      });
    }
    const pasted = query.trim();
    if (REQUEST_ID.test(pasted) && session.permissions.includes("requests:view")) {
      found.unshift({
        id: "request",
        label: `Open request ${pasted}`,
        keywords: pasted,
        leftSection: <Logs size={18} aria-hidden />,
        onClick: () =>
          void navigate({ to: "/requests", search: { request_id: pasted, open: wholeId(pasted) } as never }),
      });
    }
    return found;
  }, [session, keys.data, query, navigate, switchTenant]);

  return (
    <Spotlight
      actions={actions}
      query={query}
      onQueryChange={setQuery}
      onSpotlightOpen={() => setOpen(true)}
      shortcut={["mod + K", "/"]}
      nothingFound="Nothing of that name."
      highlightQuery
      scrollable
      maxHeight={420}
      limit={12}
      searchProps={{
        leftSection: <Search size={18} aria-hidden />,
        placeholder: "A page, a key, a tenant, or a request id …",
        "aria-label": "Search",
      }}
    />
  );
}

/** Half an id is looked up as a filter; only a whole one opens the drawer. */
function wholeId(pasted: string): string | undefined {
  const digits = pasted.replace(/^req_/i, "").toLowerCase();
  return digits.length === 32 ? `req_${digits}` : undefined;
}
