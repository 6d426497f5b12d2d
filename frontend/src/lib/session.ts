/** Who reads, and what they may do: the answer of `GET /api/v1/bootstrap`, asked once. The server decides all the same. */
import { createContext, useContext } from "react";
import type { Schemas } from "@/api/client";
import type { Page, Permission } from "./page";

export type Bootstrap = Schemas["Bootstrap"];

export const SessionContext = createContext<Bootstrap | null>(null);

export function useSession(): Bootstrap {
  const found = useContext(SessionContext);
  if (found === null) throw new Error("useSession is for what stands inside the shell");
  return found;
}

/** `may("api_keys:create")`: whether to offer a control. */
export function useMay(): (permission: Permission) => boolean {
  const { permissions } = useSession();
  return (permission) => permissions.includes(permission);
}

export function isReachable(page: Page, { permissions, offers }: Pick<Bootstrap, "permissions" | "offers">): boolean {
  if (page.offer !== undefined && !offers.includes(page.offer)) return false;
  if (page.permission === undefined) return true;
  return [page.permission].flat().some((one) => permissions.includes(one));
}
