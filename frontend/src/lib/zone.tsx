/** UTC or local time: one choice for the whole console, kept in the browser, named wherever a time stands. */
import { useLocalStorage } from "@mantine/hooks";
import { createContext, type ReactNode, useContext, useMemo } from "react";
import type { Zone } from "./format";

interface Choice {
  zone: Zone;
  setZone: (zone: Zone) => void;
}

const Context = createContext<Choice>({ zone: "local", setZone: () => undefined });

export function ZoneProvider({ children }: { children: ReactNode }) {
  const [zone, setZone] = useLocalStorage<Zone>({
    key: "tollkeeper.zone",
    defaultValue: "local",
    getInitialValueInEffect: false,
    serialize: String,
    deserialize: (text) => (text === "utc" ? "utc" : "local"),
  });
  const choice = useMemo(() => ({ zone, setZone }), [zone, setZone]);
  return <Context value={choice}>{children}</Context>;
}

export function useZone(): Choice {
  return useContext(Context);
}
