/**
 * Filters, range, tab, open drawer: everything of a view stands in the URL, so that back, reload and a link restore it.
 *
 * `const [url, setUrl] = useUrlState();` `url.get("status")`, `url.all("model")`, `setUrl({ status: "active" })`;
 * null, "" and [] remove a name. A change of a filter is a step of the history unless `replace` is set (typing).
 */
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";

export type SearchValue = string | string[];
export type Search = Record<string, SearchValue>;
export type Patch = Record<string, SearchValue | null | undefined>;

export interface Url {
  get(name: string): string | undefined;
  all(name: string): string[];
  search: Search;
}

/** Plain words instead of the router's JSON: `?status=active&model=a&model=b`. */
export function parseSearch(text: string): Search {
  const found: Search = {};
  for (const [name, value] of new URLSearchParams(text)) {
    const known = found[name];
    found[name] = known === undefined ? value : [known, value].flat();
  }
  return found;
}

export function stringifySearch(search: Record<string, unknown>): string {
  const made = new URLSearchParams();
  for (const [name, value] of Object.entries(search)) {
    for (const one of [value].flat())
      if (one !== undefined && one !== null && one !== "") made.append(name, String(one));
  }
  const text = made.toString();
  return text ? `?${text}` : "";
}

export function useUrlState(): [Url, (patch: Patch, options?: { replace?: boolean }) => void] {
  const search = useSearch({ strict: false }) as Search;
  const navigate = useNavigate();
  const url = useMemo<Url>(
    () => ({
      search,
      get: (name) => [search[name] ?? []].flat()[0],
      all: (name) => [search[name] ?? []].flat(),
    }),
    [search],
  );
  const set = useCallback(
    (patch: Patch, { replace = false } = {}) => {
      void navigate({
        to: ".",
        replace,
        resetScroll: false,
        search: ((before: Search) => {
          const after: Search = { ...before };
          for (const [name, value] of Object.entries(patch)) {
            if (value === null || value === undefined || value === "" || value.length === 0) delete after[name];
            else after[name] = value;
          }
          return after;
        }) as never,
      });
    },
    [navigate],
  );
  return [url, set];
}
