import { screen, waitFor, within } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import { connect } from "@/api/client";
import { bootstrap, renderConsole, TENANT } from "@/test/render";
import { answer, refusal } from "@/test/server";
import { navigation, PAGES } from "./registry";

const OTHER = `ten_${"9".repeat(32)}`;

test("every page has an address of its own, and every visible one a place", () => {
  const paths = PAGES.map((page) => page.path);
  expect(new Set(paths).size).toBe(paths.length);
  expect(paths).toEqual(expect.arrayContaining(["/", "/keys", "/requests"]));
});

test("no page is in the first load: what names it imports an icon and types alone", () => {
  const sources = import.meta.glob<string>("../features/*/page.ts", { query: "?raw", import: "default", eager: true });
  expect(Object.keys(sources).length).toBeGreaterThan(3);
  for (const [path, source] of Object.entries(sources)) {
    const imported = [...source.matchAll(/^import (?!type).* from "(.*)";$/gm)].map((found) => found[1]);
    expect([path, imported]).toEqual([path, imported.length > 0 ? ["lucide-react"] : []]);
  }
});

test("what a role may not see is not in the navigation, and neither is what is not served", () => {
  const paths = (who: Partial<ReturnType<typeof bootstrap>>) =>
    navigation(bootstrap(who)).flatMap((section) => section.pages.map((page) => page.path));
  expect(paths({})).toContain("/keys");
  expect(paths({ permissions: ["me:view"] })).toEqual(["/"]);
  expect(paths({ offers: ["me"] })).not.toContain("/keys");
  // The order of the sections, whatever folder a page lies in.
  expect(paths({}).indexOf("/requests")).toBeLessThan(paths({}).indexOf("/keys"));
});

test("an address that a role may not see says so", async () => {
  answer("get", "/api/v1/me", refusal(503, "dependency_unavailable", "later"));
  renderConsole("/keys", { permissions: ["me:view"] });
  expect(await screen.findByText("This is not yours to see")).toBeVisible();
});

test("an address without a page says so, and leads back", async () => {
  renderConsole("/nowhere");
  expect(await screen.findByRole("heading", { name: "There is nothing here" })).toBeVisible();
  expect(screen.getByRole("link", { name: "To the start" })).toHaveAttribute(
    "href",
    expect.stringMatching(/^\/console\/?$/),
  );
});

test("who is not signed in is sent to sign in, and nothing is shown meanwhile", async () => {
  const signIn = vi.fn();
  connect({ signIn });
  renderConsole("/keys", refusal(401, "session_ended", "The session has ended."));
  await waitFor(() => expect(signIn).toHaveBeenCalled());
  expect(screen.queryByRole("alert")).not.toBeInTheDocument();
});

test("a gateway that does not answer is told in words, and asked again", async () => {
  renderConsole("/nowhere", refusal(503, "dependency_unavailable", "The database does not answer."));
  expect(await screen.findByText("The database does not answer.")).toBeVisible();
  expect(screen.getByRole("button", { name: "Try again" })).toBeVisible();
});

test("the list of keys opens by its key, and closes", async () => {
  const { user } = renderConsole("/nowhere");
  await screen.findByRole("heading", { name: "There is nothing here" });
  await waitFor(async () => {
    await user.keyboard("?");
    expect(screen.getByRole("dialog", { name: "Keyboard shortcuts" })).toBeVisible();
  });
  await user.keyboard("{Escape}");
  await waitFor(() => expect(screen.queryByRole("dialog")).not.toBeInTheDocument());
});

test("another organisation is a choice of the bar, and a refusal is told", async () => {
  const tenants = [
    { id: TENANT, name: "Example", role: "tenant_admin", is_home: true, is_current: true },
    { id: OTHER, name: "Elsewhere", role: "viewer", is_home: false, is_current: false },
  ];
  const asked = answer("post", "/api/v1/auth/switch", refusal(403, "forbidden", "You are no member there any more."));
  const { user } = renderConsole("/nowhere", { tenants });
  await user.click(await screen.findByRole("button", { name: /Organisation: Example/ }));
  await user.click(await screen.findByRole("menuitem", { name: /Elsewhere/ }));
  expect(await screen.findByText("You are no member there any more.")).toBeVisible();
  expect(asked[0]?.body).toEqual({ tenant_id: OTHER });
});

test("the palette finds pages, and a pasted request id", async () => {
  answer("get", "/api/v1/keys", { data: [], next_cursor: null });
  answer("get", "/api/v1/requests", { data: [], next_cursor: null });
  answer("get", "/api/v1/catalog/providers", { data: [], next_cursor: null });
  answer("get", "/api/v1/requests/{request_id}", refusal(404, "not_found", "There is no such call."));
  const { user, router } = renderConsole("/nowhere");
  await user.click((await screen.findAllByRole("button", { name: /Search/ }))[0] as HTMLElement);
  const field = await screen.findByRole("textbox", { name: "Search" });
  await user.type(field, "requ");
  expect(await screen.findByRole("button", { name: /^Requests/ })).toBeVisible();
  await user.clear(field);
  await user.click(field);
  await user.paste(`req_${"a".repeat(32)}`);
  await user.click(await screen.findByRole("button", { name: /Open request/ }));
  await waitFor(() => expect(router.state.location.pathname).toBe("/requests"));
  expect(router.state.location.search).toMatchObject({ open: `req_${"a".repeat(32)}` });
  const drawer = await screen.findByRole("dialog");
  expect(await within(drawer).findByText("There is no such call.")).toBeVisible();
});
