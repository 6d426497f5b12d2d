/** The rows of the matrix of permissions, under the noun each is about. */
import type { Schemas } from "@/api/client";

export type Role = Schemas["RoleView"];
export type PermissionRow = Schemas["PermissionView"];

/** In the order the server names them; "api_keys:view" stands under "api keys". */
export function byNoun(permissions: PermissionRow[]): [string, PermissionRow[]][] {
  const groups = new Map<string, PermissionRow[]>();
  for (const row of permissions) {
    const noun = (row.name.split(":")[0] ?? "").replaceAll("_", " ");
    groups.set(noun, [...(groups.get(noun) ?? []), row]);
  }
  return [...groups];
}
