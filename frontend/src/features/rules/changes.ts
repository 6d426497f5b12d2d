/** After a change of a rule every list and status that shows one is asked for again. */
import { useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";

export function useRulesChanged(): () => Promise<void> {
  const queries = useQueryClient();
  return useCallback(
    () =>
      queries.invalidateQueries({
        predicate: ({ queryKey }) =>
          ["/api/v1/budgets", "/api/v1/limits", "/api/v1/keys/{key_id}/effective"].some((path) =>
            String(queryKey[1]).startsWith(path),
          ),
      }),
    [queries],
  );
}
