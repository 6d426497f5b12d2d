/** Keyset pages: `{data, next_cursor}` one after the other, by "load more". */
import { useMemo } from "react";

/** For `$api.useInfiniteQuery`: our lists all page alike. */
export const KEYSET = {
  pageParamName: "cursor",
  // Not undefined, for which the client would send a cursor of its own.
  initialPageParam: null as unknown,
  getNextPageParam: (page: { next_cursor?: string | null }): unknown => page.next_cursor ?? undefined,
  // The page before stays until the next one is there.
  placeholderData: <T>(before: T): T => before,
} as const;

/** The rows of all pages loaded so far; stable while they are. */
export function useRows<Row>(data: { pages: { data: Row[] }[] } | undefined): Row[] {
  return useMemo(() => data?.pages.flatMap((page) => page.data) ?? [], [data]);
}
