/** The newest calls as they come: the stream says that there is something new, the list's own query says what. */
import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useRef } from "react";
import { $api } from "@/api/client";
import { type StreamState, useEvents } from "@/api/events";
import type { CallQuery } from "./filters";

const MOST_ROWS = 100;
const AT_MOST_EACH_MS = 1000;
/** Where the stream is lost, or something was missed. */
const ANYWAY_EACH_MS = 10_000;

export function useLive(query: CallQuery, isOn: boolean) {
  const queries = useQueryClient();
  const init = { params: { query: { ...query, limit: MOST_ROWS } } };
  const list = $api.useQuery("get", "/api/v1/requests", init, {
    enabled: isOn,
    staleTime: 0,
    refetchInterval: ANYWAY_EACH_MS,
    placeholderData: (before: unknown) => before as never,
  });
  const waiting = useRef<ReturnType<typeof setTimeout> | null>(null);
  const look = useCallback(() => {
    if (waiting.current !== null) return;
    waiting.current = setTimeout(() => {
      waiting.current = null;
      void queries.invalidateQueries({ queryKey: ["get", "/api/v1/requests"], type: "active" });
    }, AT_MOST_EACH_MS);
  }, [queries]);
  useEffect(
    () => () => {
      if (waiting.current !== null) clearTimeout(waiting.current);
      waiting.current = null;
    },
    [],
  );
  const state: StreamState = useEvents("requests", look, isOn);
  return { list, state };
}
