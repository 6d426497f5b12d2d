import { screen, waitFor, within } from "@testing-library/react";
import { expect, test } from "vitest";
import { renderConsole, TENANT } from "@/test/render";
import { answer, refusal } from "@/test/server";
import type { Key, KeyCreated } from "./queries";

const SECRET = "tk-live_aaaaaaaaaaaa_not-a-real-secret";
const LONG = "An application with a very long name ".repeat(6).slice(0, 200);

function key(changed: Partial<Key> = {}): Key {
  return {
    id: `key_${"3".repeat(32)}`,
    tenant_id: TENANT,
    user_id: `usr_${"2".repeat(32)}`,
    team_id: null,
    project_id: null,
    name: "checkout",
    display_prefix: "tk-live_aaaa",
    last_four: "wxyz",
    environment: "live",
    scopes: ["inference"],
    status: "active",
    expires_at: null,
    revoked_at: null,
    previous_expires_at: null,
    rate_limit_override: null,
    allowed_models_override: null,
    allowed_providers_override: null,
    allowed_endpoints: null,
    allowed_addresses: null,
    allowed_origins: null,
    is_imported: false,
    tags: {},
    last_used_at: null,
    created_by: null,
    created_at: "2026-05-01T10:00:00Z",
    updated_at: "2026-05-01T10:00:00Z",
    version: 3,
    ...changed,
  };
}

function listed(...keys: Key[]) {
  answer("get", "/api/v1/projects", { data: [], next_cursor: null });
  answer("get", "/api/v1/catalog/models", { data: [], next_cursor: null });
  return answer("get", "/api/v1/keys", { data: keys, next_cursor: null });
}

test("the list shows how a key begins and ends, and a name of 200 letters whole", async () => {
  const asked = listed(key(), key({ id: `key_${"4".repeat(32)}`, name: LONG.trim(), status: "revoked" }));
  renderConsole("/keys");
  expect(await screen.findByText("checkout")).toBeVisible();
  expect(asked[0]?.url.search).toBe("");
  expect(screen.getAllByText("tk-live_aaaa…wxyz")).toHaveLength(2);
  expect(screen.getByText(LONG.trim())).toBeVisible();
  expect(screen.getByText("2 in all")).toBeVisible();
});

test("filters stand in the address and are asked of the server", async () => {
  const asked = listed(key());
  const { user, router } = renderConsole("/keys?status=revoked");
  await waitFor(() => expect(asked.at(-1)?.url.searchParams.get("status")).toBe("revoked"));
  await user.click(await screen.findByRole("combobox", { name: "Environment" }));
  await user.click(await screen.findByRole("option", { name: "test" }));
  await waitFor(() => expect(router.state.location.search).toEqual({ status: "revoked", environment: "test" }));
  await waitFor(() => expect(asked.at(-1)?.url.searchParams.get("environment")).toBe("test"));
});

test("further pages are fetched by the cursor, and the rows before them stay", async () => {
  answer("get", "/api/v1/projects", { data: [], next_cursor: null });
  answer("get", "/api/v1/keys", ({ url }) =>
    url.searchParams.get("cursor") === "next"
      ? { data: [key({ id: `key_${"5".repeat(32)}`, name: "second page" })], next_cursor: null }
      : { data: [key()], next_cursor: "next" },
  );
  const { user } = renderConsole("/keys");
  await user.click(await screen.findByRole("button", { name: "Load more" }));
  expect(await screen.findByText("second page")).toBeVisible();
  expect(screen.getByText("checkout")).toBeVisible();
});

test("an empty list names the command that changes it", async () => {
  listed();
  renderConsole("/keys");
  expect(await screen.findByText("There is no key yet.")).toBeVisible();
  expect(screen.getByText(/curl -X POST '.*\/api\/v1\/keys'/)).toBeVisible();
});

test("a refusal is told with its request id", async () => {
  listed();
  answer("get", "/api/v1/keys", refusal(503, "dependency_unavailable", "The database does not answer."));
  renderConsole("/keys");
  const alert = await screen.findByRole("alert");
  expect(alert).toHaveTextContent("The database does not answer.");
  expect(alert).toHaveTextContent(`req_${"0".repeat(32)}`);
  expect(within(alert).getByRole("button", { name: "Try again" })).toBeVisible();
});

test("a new key's secret is shown once, with examples that hold it, and the list is asked anew", async () => {
  const asked = listed();
  const made: KeyCreated = { ...key({ name: "my app" }), key: SECRET };
  const posts = answer("post", "/api/v1/keys", made);
  const { user } = renderConsole("/keys");
  await user.click((await screen.findAllByRole("button", { name: "Create a key" }))[0] as HTMLElement);
  const dialog = await screen.findByRole("dialog");
  await user.type(within(dialog).getByRole("textbox", { name: "Name" }), "my app");
  const before = asked.length;
  await user.click(within(dialog).getByRole("button", { name: "Create" }));
  expect(await within(dialog).findByTestId("secret")).toHaveTextContent(SECRET);
  expect(posts[0]?.body).toMatchObject({ name: "my app", environment: "live", scopes: ["inference"] });
  expect(posts[0]?.request.headers.get("x-tollkeeper-csrf")).toBe("the-token");
  await waitFor(() => expect(asked.length).toBeGreaterThan(before));
  await user.click(within(dialog).getByRole("tab", { name: "Python" }));
  expect(within(dialog).getByText(/OpenAI\(base_url="http:\/\/localhost:8000\/v1"/)).toHaveTextContent(SECRET);
  await user.click(within(dialog).getByRole("button", { name: "I have kept it" }));
  await waitFor(() => expect(screen.queryByTestId("secret")).not.toBeInTheDocument());
  expect(JSON.stringify({ ...localStorage, ...sessionStorage })).not.toContain(SECRET);
});

test("revoking is typed to be confirmed", async () => {
  listed(key());
  answer("get", "/api/v1/keys/{key_id}", key());
  const posts = answer("post", "/api/v1/keys/{key_id}/revoke", key({ status: "revoked" }));
  const { user } = renderConsole(`/keys?open=${key().id}`);
  await user.click(await screen.findByRole("button", { name: "Revoke …" }));
  const button = await screen.findByRole("button", { name: "Revoke this key" });
  expect(button).toBeDisabled();
  await user.type(screen.getByRole("textbox", { name: /to confirm/ }), "checkout");
  await user.click(button);
  await waitFor(() => expect(posts).toHaveLength(1));
});

test("rotating names its grace and holds for the version that was looked at", async () => {
  listed(key());
  answer("get", "/api/v1/keys/{key_id}", key());
  const posts = answer("post", "/api/v1/keys/{key_id}/rotate", { ...key({ version: 4 }), key: SECRET });
  const { user } = renderConsole(`/keys?open=${key().id}`);
  await user.click(await screen.findByRole("button", { name: "Rotate …" }));
  await user.click(await screen.findByRole("button", { name: "Rotate" }));
  expect(await screen.findByTestId("secret")).toHaveTextContent(SECRET);
  expect(posts[0]?.body).toEqual({ grace_seconds: 3600 });
  expect(posts[0]?.request.headers.get("if-match")).toBe('"3"');
});

test("only what was changed is sent", async () => {
  listed(key());
  answer("get", "/api/v1/keys/{key_id}", key());
  const patches = answer("patch", "/api/v1/keys/{key_id}", key({ version: 4 }));
  const { user } = renderConsole(`/keys?open=${key().id}&tab=edit`);
  const name = await screen.findByRole("textbox", { name: "Name" });
  await user.clear(name);
  await user.type(name, "till");
  await user.click(screen.getByRole("button", { name: "Save" }));
  await waitFor(() => expect(patches[0]?.body).toEqual({ name: "till" }));
});

test("a fresh proof is asked for where the server wants one, and the change is made once more", async () => {
  listed(key());
  answer("get", "/api/v1/keys/{key_id}", key());
  let proven = false;
  answer("post", "/api/v1/auth/step-up", () => {
    proven = true;
    return { authenticated_at: "2026-05-04T10:00:00Z", fresh_until: "2026-05-04T10:05:00Z" };
  });
  const posts = answer("post", "/api/v1/keys/{key_id}/rotate", () =>
    proven ? { ...key(), key: SECRET } : refusal(403, "step_up_required", "Prove who you are."),
  );
  const { user } = renderConsole(`/keys?open=${key().id}`);
  await user.click(await screen.findByRole("button", { name: "Rotate …" }));
  await user.click(await screen.findByRole("button", { name: "Rotate" }));
  await user.type(await screen.findByLabelText(/Password/), "correct horse");
  await user.click(screen.getByRole("button", { name: "Go on" }));
  expect(await screen.findByTestId("secret")).toHaveTextContent(SECRET);
  expect(posts).toHaveLength(2);
});

test("who may only look is offered nothing else", async () => {
  listed(key());
  answer("get", "/api/v1/keys/{key_id}", key());
  renderConsole(`/keys?open=${key().id}`, { permissions: ["me:view", "api_keys:view"] });
  expect(await screen.findByRole("tab", { name: "What holds" })).toBeVisible();
  expect(screen.queryByRole("button", { name: /Create a key|Rotate|Revoke/ })).not.toBeInTheDocument();
  expect(screen.queryByRole("tab", { name: "Edit" })).not.toBeInTheDocument();
});
