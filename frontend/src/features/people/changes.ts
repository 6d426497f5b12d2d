/** After a change here every list that shows the thing, or its name, is asked for again. */
import { useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";

const SHOWN_IN = ["tenants", "teams", "projects", "roles", "users", "keys", "bootstrap"].map(
  (noun) => `/api/v1/${noun}`,
);

export function usePeopleChanged(): () => Promise<void> {
  const queries = useQueryClient();
  return useCallback(
    () =>
      queries.invalidateQueries({
        predicate: ({ queryKey }) => SHOWN_IN.some((path) => String(queryKey[1]).startsWith(path)),
      }),
    [queries],
  );
}

/** Only what differs, so that two people's changes of different things both hold. */
export function differing<Body extends object>(after: Body, before: Body): Partial<Body> {
  const known = before as Record<string, unknown>;
  return Object.fromEntries(
    Object.entries(after).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(known[name])),
  ) as Partial<Body>;
}

/** An empty choice is no choice: the level above decides. */
export function listed(values: string[]): string[] | null {
  return values.length > 0 ? values : null;
}
