import { screen, waitFor, within } from "@testing-library/react";
import { expect, test } from "vitest";
import { bootstrap, renderConsole, TENANT } from "@/test/render";
import { answer, refusal } from "@/test/server";
import { createBody, formOf, NEW_TENANT, type Tenant, updateBody } from "./tenantForm";

const OTHER = `ten_${"8".repeat(32)}`;
const LONG = "An organisation of quite a name ".repeat(7).slice(0, 200).trim();
const EMPTY = { data: [], next_cursor: null };
const PLATFORM = { permissions: [...bootstrap().permissions, "platform:all_tenants" as const] };

function tenant(changed: Partial<Tenant> = {}): Tenant {
  return {
    id: OTHER,
    name: "Other",
    slug: "other",
    email: null,
    is_active: true,
    suspension_reason: null,
    rate_limit: 600,
    monthly_budget_usd: "250.000000001",
    monthly_budget: "250.000000001",
    current_spend_usd: "12.5",
    allowed_models: null,
    allowed_providers: null,
    logging_policy: "metadata",
    require_second_factor: false,
    flags: {},
    settings: {},
    created_at: "2026-05-01T10:00:00Z",
    updated_at: "2026-05-01T10:00:00Z",
    version: 5,
    ...changed,
  };
}

test("money that was not touched is not sent, and what is typed goes as it was typed", () => {
  const before = tenant();
  const form = formOf(before);
  expect(updateBody(form, before)).toEqual({});
  expect(updateBody({ ...form, budget: "0.1", models: ["gpt-*"] }, before)).toEqual({
    monthly_budget_usd: "0.1",
    allowed_models: ["gpt-*"],
  });
  expect(updateBody({ ...form, budget: "", rate: "" }, before)).toEqual({ monthly_budget_usd: null, rate_limit: null });
  expect(createBody({ ...NEW_TENANT, name: " New " })).toMatchObject({ name: "New", email: null, rate_limit: null });
});

test("the list shows long names whole, spend as the server says it, and who is suspended", async () => {
  answer("get", "/api/v1/tenants", {
    data: [tenant(), tenant({ id: TENANT, name: LONG, is_active: false })],
    next_cursor: null,
  });
  renderConsole("/tenants", PLATFORM);
  expect(await screen.findByText(LONG)).toBeVisible();
  expect(screen.getByText("suspended")).toBeVisible();
  expect(screen.getAllByText(/12\.50/)).toHaveLength(2);
});

test("an empty list and a failure are told", async () => {
  answer("get", "/api/v1/tenants", EMPTY);
  const { unmount } = renderConsole("/tenants");
  expect(await screen.findByText("There is no tenant to see.")).toBeVisible();
  unmount();
  answer("get", "/api/v1/tenants", refusal(503, "dependency_unavailable", "The database does not answer."));
  renderConsole("/tenants");
  expect(await screen.findByRole("alert")).toHaveTextContent(`req_${"0".repeat(32)}`);
});

test("a suspension needs a reason and the name typed", async () => {
  answer("get", "/api/v1/tenants", { data: [tenant()], next_cursor: null });
  answer("get", "/api/v1/tenants/{tenant_id}", tenant());
  const posts = answer("post", "/api/v1/tenants/{tenant_id}/suspend", tenant({ is_active: false }));
  const { user } = renderConsole(`/tenants?open=${OTHER}`, PLATFORM);
  const suspend = await screen.findByRole("button", { name: "Suspend …" });
  expect(suspend).toBeDisabled();
  await user.type(screen.getByRole("textbox", { name: "Reason of a suspension" }), "unpaid");
  await user.click(suspend);
  await user.type(await screen.findByRole("textbox", { name: /to confirm/ }), "Other");
  await user.click(screen.getByRole("button", { name: "Suspend this tenant" }));
  await waitFor(() => expect(posts[0]?.body).toEqual({ reason: "unpaid" }));
});

test("a change holds for the version that was looked at", async () => {
  answer("get", "/api/v1/tenants", { data: [tenant()], next_cursor: null });
  answer("get", "/api/v1/tenants/{tenant_id}", tenant());
  const patches = answer("patch", "/api/v1/tenants/{tenant_id}", tenant({ version: 6 }));
  const { user } = renderConsole(`/tenants?open=${OTHER}&tab=edit`, PLATFORM);
  const budget = await screen.findByRole("textbox", { name: "Dollars a month" });
  await user.clear(budget);
  await user.type(budget, "99.90");
  await user.click(screen.getByRole("button", { name: "Save" }));
  await waitFor(() => expect(patches[0]?.body).toEqual({ monthly_budget_usd: "99.90" }));
  expect(patches[0]?.request.headers.get("if-match")).toBe('"5"');
});

test("who administers one tenant sees neither its limits' fields nor a way to end it", async () => {
  answer("get", "/api/v1/tenants", { data: [tenant({ id: TENANT })], next_cursor: null });
  answer("get", "/api/v1/tenants/{tenant_id}", tenant({ id: TENANT }));
  const { user } = renderConsole(`/tenants?open=${TENANT}`);
  const drawer = await screen.findByRole("dialog");
  await user.click(await within(drawer).findByRole("tab", { name: "Edit" }));
  expect(await within(drawer).findByRole("textbox", { name: "Name" })).toBeVisible();
  expect(within(drawer).queryByRole("textbox", { name: "Dollars a month" })).not.toBeInTheDocument();
  expect(screen.queryByRole("button", { name: /Suspend|Delete/ })).not.toBeInTheDocument();
});
