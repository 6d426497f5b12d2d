/** Which organisation the session works in, and the way into the others. */
import { Button, Menu, Text } from "@mantine/core";
import { Building2, Check, ChevronsUpDown } from "lucide-react";
import { useCallback } from "react";
import { client } from "@/api/client";
import { useSession } from "@/lib/session";
import { sayProblem } from "@/ui/say";

/** Everything on screen is of one tenant: the page starts anew in the other. */
export function useSwitchTenant(): (id: string) => Promise<void> {
  return useCallback(async (id: string) => {
    try {
      await client.POST("/api/v1/auth/switch", { body: { tenant_id: id } });
      location.assign("/console");
    } catch (error) {
      sayProblem(error);
    }
  }, []);
}

export function TenantSwitcher() {
  const { tenant, tenants } = useSession();
  const switchTenant = useSwitchTenant();
  if (tenants.length < 2) {
    return (
      <Text size="sm" fw={600} truncate maw={220} title={tenant.name}>
        {tenant.name}
      </Text>
    );
  }
  return (
    <Menu position="bottom-start" width={280}>
      <Menu.Target>
        <Button
          variant="default"
          size="xs"
          maw={240}
          leftSection={<Building2 size={14} aria-hidden />}
          rightSection={<ChevronsUpDown size={14} aria-hidden />}
          aria-label={`Organisation: ${tenant.name}. Switch`}
        >
          <Text size="sm" truncate>
            {tenant.name}
          </Text>
        </Button>
      </Menu.Target>
      <Menu.Dropdown mah={400} style={{ overflowY: "auto" }}>
        <Menu.Label c="var(--tk-faint)">Work in</Menu.Label>
        {tenants.map((one) => (
          <Menu.Item
            key={one.id}
            disabled={one.is_current}
            rightSection={one.is_current ? <Check size={14} aria-hidden /> : null}
            onClick={() => void switchTenant(one.id)}
          >
            <Text size="sm" style={{ overflowWrap: "anywhere" }}>
              {one.name}
            </Text>
            <Text size="xs" c="var(--tk-faint)">
              {one.role}
              {one.is_home ? " · home" : ""}
            </Text>
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
