import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import { renderConsole, TENANT } from "@/test/render";
import { answer, refusal } from "@/test/server";
import { byNoun, type PermissionRow, type Role } from "./matrix";

const LONG = "a role of quite a long name ".repeat(3).slice(0, 64).trim();
const PERMISSIONS: PermissionRow[] = [
  { name: "api_keys:view", description: "See keys.", is_grantable: true },
  { name: "audit:view", description: "Read the audit trail.", is_grantable: true },
  { name: "api_keys:create", description: "Make keys.", is_grantable: true },
];
const BUILT_IN: Role = {
  id: null,
  tenant_id: null,
  name: "developer",
  description: "",
  permissions: ["api_keys:view", "api_keys:create"],
  is_built_in: true,
  created_at: null,
  updated_at: null,
  version: null,
};
const OWN: Role = {
  ...BUILT_IN,
  id: `role_${"1".repeat(32)}`,
  tenant_id: TENANT,
  name: LONG,
  permissions: ["audit:view"],
  is_built_in: false,
};

test("permissions stand under their noun, each once", () => {
  expect(byNoun(PERMISSIONS).map(([noun, rows]) => [noun, rows.map(({ name }) => name)])).toEqual([
    ["api keys", ["api_keys:view", "api_keys:create"]],
    ["audit", ["audit:view"]],
  ]);
});

test("the matrix says in words who may what", async () => {
  answer("get", "/api/v1/roles", { data: [BUILT_IN, OWN], next_cursor: null });
  answer("get", "/api/v1/roles/permissions", { data: PERMISSIONS, next_cursor: null });
  renderConsole("/roles");
  const row = await screen.findByRole("row", { name: /audit:view/ });
  expect(
    within(row)
      .getAllByRole("cell")
      .map((cell) => cell.textContent),
  ).toEqual(["no", "yes"]);
  expect(screen.getByRole("columnheader", { name: new RegExp(LONG) })).toBeVisible();
});

test("no role, and a failure, are told", async () => {
  answer("get", "/api/v1/roles/permissions", { data: PERMISSIONS, next_cursor: null });
  answer("get", "/api/v1/roles", { data: [], next_cursor: null });
  const { unmount } = renderConsole("/roles");
  expect(await screen.findByText("There is no role to see.")).toBeVisible();
  unmount();
  answer("get", "/api/v1/roles", refusal(503, "dependency_unavailable", "The database does not answer."));
  renderConsole("/roles");
  expect(await screen.findByRole("alert")).toHaveTextContent(`req_${"0".repeat(32)}`);
});
