/** The whole console at an address, as a role sees it; `asRole("developer")` is typed by what the server would say. */
import { createMemoryHistory } from "@tanstack/react-router";
import { render } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { App, makeQueryClient } from "@/app/App";
import { makeRouter } from "@/app/router";
import type { Permission } from "@/lib/page";
import type { Bootstrap } from "@/lib/session";
import { answer } from "./server";

const MOMENT = "2026-05-04T10:00:00Z";
export const TENANT = `ten_${"1".repeat(32)}`;

const ALL: Permission[] = [
  "gateway:use",
  "me:view",
  "me:update",
  "api_keys:view",
  "api_keys:create",
  "api_keys:update",
  "api_keys:delete",
  "users:view",
  "users:create",
  "users:update",
  "users:delete",
  "tenants:view",
  "tenants:create",
  "tenants:update",
  "tenants:delete",
  "teams:view",
  "teams:create",
  "teams:update",
  "teams:delete",
  "projects:view",
  "roles:view",
  "roles:create",
  "roles:update",
  "roles:delete",
  "catalog:view",
  "catalog:update",
  "router:view",
  "router:update",
  "guardrails:view",
  "guardrails:test",
  "usage:view",
  "requests:view",
  "limits:view",
  "limits:create",
  "limits:update",
  "limits:delete",
  "budgets:view",
  "budgets:create",
  "budgets:update",
  "budgets:delete",
  "audit:view",
  "audit:export",
  "jobs:view",
  "identity_providers:view",
  "identity_providers:update",
];

const OFFERS = [
  "audit",
  "auth",
  "bootstrap",
  "budgets",
  "catalog",
  "events",
  "guardrails",
  "identity-providers",
  "invitations",
  "jobs",
  "keys",
  "limits",
  "me",
  "projects",
  "requests",
  "roles",
  "route-policies",
  "router",
  "service-accounts",
  "teams",
  "tenants",
  "usage",
  "users",
];

/** An administrator of one tenant, unless the test says otherwise. */
export function bootstrap(changed: Partial<Bootstrap> = {}): Bootstrap {
  return {
    version: "0.1.0",
    base_url: "http://localhost:8000/v1",
    user: { id: `usr_${"2".repeat(32)}`, email: "ann@example.com", name: "Ann Example", role: "tenant_admin" },
    tenant: { id: TENANT, name: "Example" },
    home_tenant_id: TENANT,
    tenants: [{ id: TENANT, name: "Example", role: "tenant_admin", is_home: true, is_current: true }],
    permissions: ALL,
    home: "tenant",
    offers: OFFERS,
    csrf_token: "the-token",
    session: { method: "password", authenticated_at: MOMENT, fresh_until: MOMENT },
    must_set_up_second_factor: false,
    has_mail: false,
    retention_days: 30,
    ...changed,
  };
}

/** Opens the console at `address` ("/keys?status=active"). Say first what the gateway answers. */
export function renderConsole(address: string, who: Partial<Bootstrap> | Response = {}) {
  answer("get", "/api/v1/bootstrap", who instanceof Response ? () => who.clone() : bootstrap(who));
  const history = createMemoryHistory({ initialEntries: [`/console${address}`] });
  const router = makeRouter(history);
  const queries = makeQueryClient();
  queries.setDefaultOptions({ queries: { retry: false } });
  const user = userEvent.setup();
  const screen = render(<App router={router} queries={queries} env="test" />);
  return { user, router, ...screen };
}
