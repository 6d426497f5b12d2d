import { screen, waitFor, within } from "@testing-library/react";
import { expect, test } from "vitest";
import type { Schemas } from "@/api/client";
import { renderConsole, TENANT } from "@/test/render";
import { answer, refusal } from "@/test/server";

type Member = Schemas["UserView"];
const LONG = "Somebody with quite a name ".repeat(8).slice(0, 200).trim();

function member(changed: Partial<Member> = {}): Member {
  return {
    id: `usr_${"7".repeat(32)}`,
    tenant_id: TENANT,
    email: "ben@example.com",
    name: "Ben Example",
    kind: "person",
    role: "developer",
    role_id: null,
    is_guest: false,
    is_active: true,
    has_password: true,
    preferences: {},
    teams: [],
    last_login_at: null,
    created_at: "2026-05-01T10:00:00Z",
    updated_at: "2026-05-01T10:00:00Z",
    version: 2,
    ...changed,
  };
}

function listed(...members: Member[]) {
  answer("get", "/api/v1/roles", { data: [], next_cursor: null });
  return answer("get", "/api/v1/users", { data: members, next_cursor: null });
}

test("members are listed, long names whole, and looked for by the server", async () => {
  const asked = listed(member(), member({ id: `usr_${"8".repeat(32)}`, name: LONG }));
  renderConsole("/members?q=ben&kind=person");
  expect(await screen.findByText("Ben Example")).toBeVisible();
  expect(screen.getByText(LONG)).toBeVisible();
  expect(asked[0]?.url.search).toBe("?q=ben&kind=person");
});

test("where no mail is sent, the link of an invitation is shown", async () => {
  listed();
  const sent = answer("post", "/api/v1/invitations", {
    email: "ann@example.com",
    link: "http://gateway/console/invitation#token=once",
  } as Schemas["InvitationSent"]);
  const { user } = renderConsole("/members");
  await user.click(await screen.findByRole("button", { name: "Invite" }));
  const dialog = await screen.findByRole("dialog");
  await user.type(within(dialog).getByRole("textbox", { name: "E-mail address" }), "ann@example.com");
  await user.click(within(dialog).getByRole("button", { name: "Invite" }));
  expect(await within(dialog).findByText("http://gateway/console/invitation#token=once")).toBeVisible();
  expect(sent[0]?.body).toEqual({ email: "ann@example.com", role: "developer" });
});

test("removing is typed to be confirmed, and a refusal is told", async () => {
  listed(member());
  answer("get", "/api/v1/users/{user_id}", member());
  answer("delete", "/api/v1/users/{user_id}", refusal(409, "last_admin", "Somebody must stay who may do this."));
  const { user } = renderConsole(`/members?open=${member().id}`);
  await user.click(await screen.findByRole("button", { name: "Remove …" }));
  await user.type(await screen.findByRole("textbox", { name: /to confirm/ }), "ben@example.com");
  await user.click(screen.getByRole("button", { name: "Remove from here" }));
  expect(await screen.findByText("Somebody must stay who may do this.")).toBeVisible();
});

test("who may only look is offered nothing else", async () => {
  listed(member());
  answer("get", "/api/v1/users/{user_id}", member());
  renderConsole(`/members?open=${member().id}`, { permissions: ["me:view", "users:view"] });
  expect(await within(await screen.findByRole("dialog")).findByText("ben@example.com")).toBeVisible();
  expect(screen.queryByRole("button", { name: /Invite|Remove|Save/ })).not.toBeInTheDocument();
});

test("nobody fits: the command that invites somebody is named", async () => {
  listed();
  renderConsole("/members?q=nobody");
  await waitFor(() => expect(screen.getByText("Nobody fits.")).toBeVisible());
});
