/**
 * The drawer a row opens: its whole story in tabs, one of them the API call that tells the same.
 *
 * Which row is open and which tab stands in the URL (`open`, `tab`); J and K go to the next and the one before.
 */
import { ActionIcon, Drawer, Group, ScrollArea, Stack, Tabs, Text, Tooltip } from "@mantine/core";
import { useHotkeys } from "@mantine/hooks";
import { ChevronDown, ChevronUp } from "lucide-react";
import type { ReactNode } from "react";
import type { ApiCall } from "@/lib/snippets";
import { useUrlState } from "@/lib/urlState";
import { CopyableId } from "./Copy";
import { Curl } from "./Curl";

export interface DrawerTab {
  value: string;
  label: string;
  content: ReactNode;
}

/** The open row of a list, by the URL. */
export function useOpenRow(): [string | undefined, (id: string | null) => void] {
  const [url, setUrl] = useUrlState();
  return [url.get("open"), (id) => setUrl(id === null ? { open: null, tab: null } : { open: id })];
}

export function DetailDrawer({
  id,
  idLabel = "id",
  title,
  badge,
  tabs,
  call,
  neighbours,
  onClose,
  size = "xl",
}: {
  /** Shown, copyable, what people search for. */
  id: string;
  idLabel?: string;
  title: string;
  badge?: ReactNode;
  tabs: DrawerTab[];
  /** The call that reads the same. */
  call: ApiCall;
  /** The ids of the list the drawer was opened from, in its order. */
  neighbours?: readonly string[];
  onClose: () => void;
  size?: string | number;
}) {
  const [url, setUrl] = useUrlState();
  const place = neighbours?.indexOf(id) ?? -1;
  const after = place >= 0 ? neighbours?.[place + 1] : undefined;
  const before = place > 0 ? neighbours?.[place - 1] : undefined;
  const go = (to: string | undefined) => to !== undefined && setUrl({ open: to }, { replace: true });
  useHotkeys([
    ["j", () => go(after)],
    ["k", () => go(before)],
  ]);
  const first = tabs[0]?.value ?? "api";
  return (
    <Drawer
      opened
      onClose={onClose}
      position="right"
      size={size}
      styles={{ body: { paddingTop: 0 }, content: { maxWidth: "100vw" }, title: { minWidth: 0, flex: 1 } }}
      title={
        <Stack gap={2}>
          <Group gap="xs" wrap="nowrap">
            <Text fw={650} style={{ overflowWrap: "anywhere" }} lineClamp={2}>
              {title}
            </Text>
            {badge}
          </Group>
          <CopyableId value={id} what={idLabel} />
        </Stack>
      }
    >
      {neighbours !== undefined && (
        <Group gap={4} mb="xs">
          <Tooltip label="Next (J)">
            <ActionIcon
              aria-label="Next"
              aria-keyshortcuts="j"
              disabled={after === undefined}
              onClick={() => go(after)}
            >
              <ChevronDown size={16} aria-hidden />
            </ActionIcon>
          </Tooltip>
          <Tooltip label="Previous (K)">
            <ActionIcon
              aria-label="Previous"
              aria-keyshortcuts="k"
              disabled={before === undefined}
              onClick={() => go(before)}
            >
              <ChevronUp size={16} aria-hidden />
            </ActionIcon>
          </Tooltip>
        </Group>
      )}
      <Tabs
        value={url.get("tab") ?? first}
        onChange={(tab) => setUrl({ tab: tab === first ? null : tab }, { replace: true })}
        keepMounted={false}
      >
        <ScrollArea type="auto" offsetScrollbars="x">
          <Tabs.List style={{ flexWrap: "nowrap" }}>
            {tabs.map((tab) => (
              <Tabs.Tab key={tab.value} value={tab.value}>
                {tab.label}
              </Tabs.Tab>
            ))}
            <Tabs.Tab value="api">API</Tabs.Tab>
          </Tabs.List>
        </ScrollArea>
        {tabs.map((tab) => (
          <Tabs.Panel key={tab.value} value={tab.value} pt="md">
            {tab.content}
          </Tabs.Panel>
        ))}
        <Tabs.Panel value="api" pt="md">
          <Stack gap="xs">
            <Text size="sm">The same from the API:</Text>
            <Curl call={call} />
          </Stack>
        </Tabs.Panel>
      </Tabs>
    </Drawer>
  );
}
