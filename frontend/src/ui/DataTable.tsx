/**
 * The one table of the console: rows of a keyset list, drawn only where they are seen, "load more" at its end.
 *
 * It sorts and filters nothing: the server does, by what stands in the URL. Hidden columns stand there too (`hide`). On a
 * phone each row becomes a card. A row is opened by click, Enter or from its first cell's button; ↓ ↑ J K move the focus.
 */
import { Button, Center, Checkbox, Group, Menu, Skeleton, Table, Text, VisuallyHidden } from "@mantine/core";
import { columnVisibilityFeature, createColumnHelper, tableFeatures, useTable } from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { Columns3 } from "lucide-react";
import { type KeyboardEvent, type MouseEvent, type ReactNode, useCallback, useMemo, useRef } from "react";
import { formatCount } from "@/lib/format";
import { useUrlState } from "@/lib/urlState";
import classes from "./DataTable.module.css";
import { Failed } from "./states";

export interface Column<Row> {
  id: string;
  header: string;
  cell: (row: Row) => ReactNode;
  align?: "right";
  width?: number | string;
  /** Cannot be hidden; the first column should be one. */
  isFixed?: boolean;
  /** Hidden until it is asked for. */
  isOptional?: boolean;
}

/** What the table needs of `$api.useInfiniteQuery`, or of a plain query for a list without pages. */
export interface ListQuery {
  isPending: boolean;
  isFetching?: boolean;
  error: unknown;
  refetch: () => unknown;
  hasNextPage?: boolean;
  isFetchingNextPage?: boolean;
  fetchNextPage?: () => unknown;
}

const VIRTUAL_FROM = 80;
const ROW_HEIGHT = 41;
const features = tableFeatures({ columnVisibilityFeature });

export function DataTable<Row extends object>({
  label,
  columns,
  rows,
  rowId,
  query,
  empty,
  toolbar,
  openId,
  onOpen,
  rowLabel,
}: {
  /** What the list is, for who cannot see it: "Keys". */
  label: string;
  /** Stable: at module level or in a memo. */
  columns: Column<Row>[];
  rows: Row[];
  rowId: (row: Row) => string;
  query: ListQuery;
  empty: ReactNode;
  /** The filters. */
  toolbar?: ReactNode;
  openId?: string | undefined;
  onOpen?: (id: string) => void;
  rowLabel?: (row: Row) => string;
}) {
  const [url, setUrl] = useUrlState();
  const hidden = url.get("hide");
  const visibility = useMemo(() => {
    const chosen =
      hidden === undefined ? columns.filter((one) => one.isOptional).map((one) => one.id) : hidden.split(".");
    return Object.fromEntries(columns.map((one) => [one.id, one.isFixed || !chosen.includes(one.id)]));
  }, [hidden, columns]);

  const definitions = useMemo(() => {
    const helper = createColumnHelper<typeof features, Row>();
    return helper.columns(
      columns.map((one) =>
        helper.display({ id: one.id, header: one.header, cell: ({ row }) => one.cell(row.original) }),
      ),
    );
  }, [columns]);
  const byId = useMemo(() => new Map(columns.map((one) => [one.id, one])), [columns]);
  const table = useTable({
    features,
    columns: definitions,
    data: rows,
    getRowId: rowId,
    state: { columnVisibility: visibility },
  });
  const model = table.getRowModel().rows;

  const frame = useRef<HTMLElement>(null);
  const isVirtual = model.length > VIRTUAL_FROM;
  const virtualizer = useVirtualizer({
    count: model.length,
    enabled: isVirtual,
    getScrollElement: () => frame.current,
    estimateSize: () => ROW_HEIGHT,
    getItemKey: useCallback((index: number) => model[index]?.id ?? index, [model]),
    overscan: 12,
  });
  const items = isVirtual ? virtualizer.getVirtualItems() : [];
  const above = items[0]?.start ?? 0;
  const below = isVirtual ? virtualizer.getTotalSize() - (items.at(-1)?.end ?? 0) : 0;
  const shown = isVirtual
    ? items.map((item) => ({ row: model[item.index], index: item.index }))
    : model.map((row, index) => ({ row, index }));
  const width = table.getVisibleLeafColumns().length;

  const open = (id: string, event: MouseEvent | KeyboardEvent) => {
    // A link, a button or a selection inside a row is meant for itself.
    if ((event.target as HTMLElement).closest("a, button, input, label") || getSelection()?.toString()) return;
    onOpen?.(id);
  };
  const onKey = (id: string, event: KeyboardEvent<HTMLTableRowElement>) => {
    if (event.target !== event.currentTarget) return;
    if (event.key === "Enter") open(id, event);
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = step > 0 ? event.currentTarget.nextElementSibling : event.currentTarget.previousElementSibling;
    (next as HTMLElement | null)?.focus();
  };

  return (
    <div>
      <Group justify="space-between" mb="sm" gap="xs" align="flex-end">
        <Group gap="xs" align="flex-end" style={{ flex: 1 }}>
          {toolbar}
        </Group>
        <ColumnChooser
          columns={columns}
          visibility={visibility}
          onChange={(ids) => setUrl({ hide: ids.join(".") || "none" }, { replace: true })}
        />
      </Group>
      {query.error ? (
        <Failed error={query.error} onRetry={() => void query.refetch()} />
      ) : query.isPending ? (
        <div role="status" aria-label={`Loading ${label}`} aria-busy>
          {Array.from({ length: 8 }, (_, row) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: rows that are all alike
            <Skeleton key={row} height={ROW_HEIGHT - 9} mb={9} radius="sm" />
          ))}
        </div>
      ) : model.length === 0 ? (
        empty
      ) : (
        <>
          <section
            ref={frame}
            className={isVirtual ? classes.scrolling : classes.frame}
            // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
            tabIndex={0}
            aria-label={label}
            aria-busy={query.isFetching ?? false}
          >
            <Table
              className={classes.table}
              highlightOnHover={onOpen !== undefined}
              aria-rowcount={query.hasNextPage ? -1 : model.length}
            >
              <caption className={classes.caption}>
                <VisuallyHidden>{label}</VisuallyHidden>
              </caption>
              <Table.Thead className={classes.head}>
                {table.getHeaderGroups().map((group) => (
                  <Table.Tr key={group.id}>
                    {group.headers.map((header) => {
                      const column = byId.get(header.column.id);
                      return (
                        <Table.Th key={header.id} scope="col" ta={column?.align ?? "left"} w={column?.width}>
                          {column?.header}
                        </Table.Th>
                      );
                    })}
                  </Table.Tr>
                ))}
              </Table.Thead>
              <Table.Tbody>
                {above > 0 && <Spacer height={above} columns={width} />}
                {shown.map(({ row, index }) =>
                  row === undefined ? null : (
                    <Table.Tr
                      key={row.id}
                      ref={isVirtual ? virtualizer.measureElement : undefined}
                      data-index={index}
                      data-open={row.id === openId || undefined}
                      className={onOpen ? classes.opening : undefined}
                      tabIndex={onOpen ? 0 : undefined}
                      aria-label={onOpen && rowLabel ? rowLabel(row.original) : undefined}
                      onClick={onOpen ? (event) => open(row.id, event) : undefined}
                      onKeyDown={onOpen ? (event) => onKey(row.id, event) : undefined}
                    >
                      {row.getVisibleCells().map((cell) => {
                        const column = byId.get(cell.column.id);
                        return (
                          <Table.Td key={cell.id} data-label={column?.header} ta={column?.align ?? "left"}>
                            <table.FlexRender cell={cell} />
                          </Table.Td>
                        );
                      })}
                    </Table.Tr>
                  ),
                )}
                {below > 0 && <Spacer height={below} columns={width} />}
              </Table.Tbody>
            </Table>
          </section>
          <Center mt="sm">
            {query.hasNextPage ? (
              <Button
                variant="default"
                size="xs"
                loading={query.isFetchingNextPage ?? false}
                onClick={() => void query.fetchNextPage?.()}
              >
                Load more
              </Button>
            ) : (
              <Text size="xs" c="var(--tk-faint)">
                {formatCount(model.length)} in all
              </Text>
            )}
          </Center>
        </>
      )}
    </div>
  );
}

function Spacer({ height, columns }: { height: number; columns: number }) {
  return (
    <tr aria-hidden className={classes.spacer}>
      <td colSpan={columns} style={{ height, padding: 0, border: 0 }} />
    </tr>
  );
}

function ColumnChooser<Row>({
  columns,
  visibility,
  onChange,
}: {
  columns: Column<Row>[];
  visibility: Record<string, boolean>;
  onChange: (hidden: string[]) => void;
}) {
  const choices = columns.filter((one) => !one.isFixed);
  if (choices.length < 2) return null;
  return (
    <Menu closeOnItemClick={false} position="bottom-end">
      <Menu.Target>
        <Button variant="default" size="xs" leftSection={<Columns3 size={14} aria-hidden />}>
          Columns
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        {choices.map((one) => (
          <Menu.Item
            key={one.id}
            role="menuitemcheckbox"
            aria-checked={visibility[one.id] ?? true}
            leftSection={<Checkbox.Indicator checked={visibility[one.id] ?? true} size="xs" />}
            onClick={() =>
              onChange(
                choices
                  .filter((other) => (other.id === one.id ? visibility[other.id] : !visibility[other.id]))
                  .map((other) => other.id),
              )
            }
          >
            {one.header}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
