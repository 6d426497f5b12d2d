import { screen, within } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import { renderConsole } from "@/test/render";
import { answer } from "@/test/server";
import type { Entry } from "./AuditDrawer";
import { changesOf } from "./diff";

const ENTRY: Entry = {
  id: `aud_${"1".repeat(32)}`,
  tenant_id: `ten_${"1".repeat(32)}`,
  sequence: 12,
  actor: { type: "user", id: `usr_${"1".repeat(32)}`, name: "ann@example.com" },
  action: "budgets.update",
  object_type: "budget",
  object_id: `bud_${"1".repeat(32)}`,
  before: { amount_usd: "5", mode: "hard", note: "<b>old</b>" },
  after: { amount_usd: "7.5", mode: "hard", note: "<b>new</b>" },
  request_id: null,
  address: "192.0.2.7",
  outcome: "success",
  created_at: "2026-03-01T00:00:00Z",
  hash: "ab".repeat(32),
};

describe("what differs", () => {
  it("is told field by field, and nothing that stayed", () => {
    expect(changesOf({ a: 1, b: [1], gone: "x" }, { a: 1, b: [1, 2], made: null })).toEqual([
      { field: "b", before: "[1]", after: "[1,2]" },
      { field: "gone", before: "x", after: null },
      { field: "made", before: null, after: "null" },
    ]);
  });

  it("of what was made or deleted is all of it", () => {
    expect(changesOf(null, { a: "b" })).toEqual([{ field: "a", before: null, after: "b" }]);
    expect(changesOf(null, null)).toEqual([]);
  });
});

it("shows a record's change as text, whatever it holds, and the chain's state", async () => {
  const asked = answer("get", "/api/v1/audit", { data: [ENTRY], next_cursor: null });
  answer("get", "/api/v1/audit/verify", {
    tenant_id: ENTRY.tenant_id,
    is_intact: false,
    records: 12,
    head_sequence: 12,
    head: ENTRY.hash,
    broken_at: 7,
    problem: "Record 7 was changed.",
  });
  const { user } = renderConsole(`/audit?object=${ENTRY.object_id}&tab=changes`);
  await user.click(await screen.findByText("budgets.update"));
  const drawer = await screen.findByRole("dialog");
  expect(await within(drawer).findByText("<b>new</b>")).toBeVisible();
  expect(within(drawer).queryByText("mode")).toBeNull();
  expect(asked[0]?.url.searchParams.get("object_id")).toBe(ENTRY.object_id);
  await user.keyboard("{Escape}");
  await user.click(await screen.findByRole("button", { name: "Check the chain" }));
  expect(await screen.findByText("The chain is broken at record 7.")).toBeVisible();
});
