/** After a change of the catalogue all that shows it is asked for again. */
import { useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";

export function useCatalogChanged(): () => Promise<void> {
  const queries = useQueryClient();
  return useCallback(
    () =>
      queries.invalidateQueries({
        predicate: ({ queryKey }) =>
          ["/api/v1/catalog/", "/api/v1/router/"].some((path) => String(queryKey[1]).startsWith(path)),
      }),
    [queries],
  );
}
