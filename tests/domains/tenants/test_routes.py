"""`/api/v1/tenants` through the whole control plane."""

from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import AnnouncementRow, Tenant, UsageRollup

# Of a key in no team and no project.
NONE = UUID(int=0)


def a_name() -> str:
    return f"Acme {uuid7().hex}"


async def make(client: httpx.AsyncClient, **body: object) -> dict[str, object]:
    answer = await client.post("/api/v1/tenants", json={"name": a_name(), **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_seed_fields_are_taken_and_read_back(plane: ControlPlane) -> None:
    wanted = {
        "email": "ops@acme.example",
        "is_active": True,
        "rate_limit": 60,
        "monthly_budget_usd": "12.5",
        "allowed_models": ["gpt-*"],
        "allowed_providers": ["openai"],
        "logging_policy": "full",
    }
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        tenant = await make(admin, **wanted)
        shown = (await admin.get(f"/api/v1/tenants/{tenant['id']}")).json()
        cleared = (
            await admin.patch(
                f"/api/v1/tenants/{tenant['id']}",
                json={"email": None, "rate_limit": None, "monthly_budget": None, "allowed_models": None},
            )
        ).json()
    assert {name: shown[name] for name in wanted} == wanted
    assert shown["current_spend_usd"] == "0"
    assert [cleared[name] for name in ("email", "rate_limit", "monthly_budget_usd", "allowed_models")] == [None] * 4
    assert await plane.audited(str(tenant["id"])) == ["tenants.create", "tenants.update"]


@pytest.mark.parametrize(("sent", "read"), [("100", "100"), (100, "100"), (100.5, "100.5"), (0, "0"), ("0.1", "0.1")])
async def test_the_short_budget_takes_what_people_write(plane: ControlPlane, sent: object, read: str) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        tenant = await make(admin, monthly_budget=sent)
    assert (tenant["monthly_budget_usd"], tenant["monthly_budget"]) == (read, read)


async def test_what_was_spent_is_this_months_and_read_only(plane: ControlPlane) -> None:
    now = plane.clock.now()
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        tenant = await make(admin)
        tenant_id = parse_id("ten", str(tenant["id"]))
        for hour, nano in ((now, 1_500_000_000), (now - timedelta(days=40), 9_000_000_000)):
            await spend(plane, tenant_id, hour, nano)
        shown = await admin.get(f"/api/v1/tenants/{tenant['id']}")
        refused = await admin.patch(f"/api/v1/tenants/{tenant['id']}", json={"current_spend_usd": "0"})
    assert shown.json()["current_spend_usd"] == "1.5"
    assert refused.status_code == 422


async def spend(plane: ControlPlane, tenant_id: UUID, hour: object, nano: int) -> None:
    async with plane.database.platform() as session:
        session.add(
            UsageRollup(
                hour=hour, tenant_id=tenant_id, api_key_id=uuid7(), user_id=uuid7(), team_id=NONE,
                project_id=NONE, model="m", provider="p", charge_nano=nano, cost_nano=nano,
            )
        )  # fmt: skip


async def test_a_tenant_begins_with_an_owner_for_keys_of_no_person(plane: ControlPlane) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        tenant = await make(admin)
        key = await admin.post("/api/v1/keys", json={"name": "app", "tenant_id": tenant["id"]})
        assert key.status_code == 201, key.text
        users = (await admin.get("/api/v1/users", params={"tenant_id": str(tenant["id"])})).json()["data"]
    assert [(user["id"], user["name"], user["has_password"]) for user in users] == [
        (key.json()["user_id"], "Service account", False)
    ]


async def test_suspending_is_announced_and_ends_every_call(plane: ControlPlane) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        tenant = await make(admin)
        key = (
            await admin.post("/api/v1/keys", json={"name": "a", "tenant_id": tenant["id"], "scopes": ["admin"]})
        ).json()
        async with plane.client(authorization=f"Bearer {key['key']}") as client:
            assert (await client.get("/api/v1/me")).status_code == 200
            assert (await admin.patch(f"/api/v1/tenants/{tenant['id']}", json={"is_active": False})).status_code == 200
            assert (await client.get("/api/v1/me")).status_code == 401
    async with plane.database.platform() as session:
        query = select(func.count()).where(AnnouncementRow.subject == parse_id("ten", str(tenant["id"])))
        assert await session.scalar(query)


async def test_a_suspended_tenant_is_told_why_until_it_is_resumed(plane: ControlPlane) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        tenant = await make(admin)
        path = f"/api/v1/tenants/{tenant['id']}"
        user_id = await plane.new_user(Role.TENANT_ADMIN, parse_id("ten", str(tenant["id"])))
        async with plane.as_user(user_id) as client:
            assert (await client.get("/api/v1/me")).status_code == 200
            suspended = await admin.post(f"{path}/suspend", json={"reason": "Invoice 7 is open."})
            refused = await client.get("/api/v1/me")
            again = await admin.post(f"{path}/suspend", json={"reason": "Invoice 7 is open."})
            resumed = await admin.post(f"{path}/resume")
            assert (await client.get("/api/v1/me")).status_code == 200
    assert (suspended.json()["is_active"], suspended.json()["suspension_reason"]) == (False, "Invoice 7 is open.")
    assert (refused.status_code, refused.json()["detail"]) == (
        401,
        "Your organisation is suspended: Invoice 7 is open. Ask an administrator.",
    )
    assert again.json()["version"] == suspended.json()["version"]
    assert (resumed.json()["is_active"], resumed.json()["suspension_reason"]) == (True, None)
    assert await plane.audited(str(tenant["id"])) == ["tenants.create", "tenants.suspend", "tenants.resume"]


async def test_the_short_spelling_resumes_a_tenant_as_well(plane: ControlPlane) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        path = f"/api/v1/tenants/{(await make(admin))['id']}"
        await admin.post(f"{path}/suspend", json={"reason": "Invoice 7 is open."})
        resumed = await admin.patch(path, json={"is_active": True})
    assert (resumed.json()["is_active"], resumed.json()["suspension_reason"]) == (True, None)


async def test_only_the_platform_suspends_and_never_its_own_tenant(plane: ControlPlane) -> None:
    own = f"/api/v1/tenants/{format_id('ten', plane.tenant_id)}"
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        for action, body in (("suspend", {"reason": "x"}), ("resume", None)):
            assert (await admin.post(f"{own}/{action}", json=body)).status_code == 403
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        refused = await admin.post(f"{own}/suspend", json={"reason": "x"})
        assert (refused.status_code, refused.json()["code"]) == (409, "own_tenant")
        unknown = f"/api/v1/tenants/{format_id('ten', uuid7())}"
        assert (await admin.post(f"{unknown}/suspend", json={"reason": "x"})).status_code == 404
        assert (await admin.post(f"{own}/suspend", json={"reason": ""})).status_code == 422


async def test_a_session_must_be_fresh_to_change_tenants(plane: ControlPlane) -> None:
    path = f"/api/v1/tenants/{format_id('ten', plane.other_tenant_id)}"
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        plane.clock.ahead += plane.services.settings.step_up_seconds + 1
        for answer in (
            await admin.post("/api/v1/tenants", json={"name": a_name()}),
            await admin.patch(path, json={"email": "x@example.com"}),
            await admin.post(f"{path}/suspend", json={"reason": "x"}),
            await admin.post(f"{path}/resume"),
            await admin.delete(path),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "step_up_required")


async def test_a_deleted_tenant_is_gone_and_its_keys_are_revoked(plane: ControlPlane) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        tenant = await make(admin)
        key = (
            await admin.post("/api/v1/keys", json={"name": "a", "tenant_id": tenant["id"], "scopes": ["admin"]})
        ).json()
        assert (await admin.delete(f"/api/v1/tenants/{tenant['id']}")).status_code == 204
        assert (await admin.get(f"/api/v1/tenants/{tenant['id']}")).status_code == 404
        assert (await admin.get(f"/api/v1/keys/{key['id']}")).json()["status"] == "revoked"
        assert (await admin.post("/api/v1/tenants", json={"name": tenant["name"]})).status_code == 201
        own = await admin.delete(f"/api/v1/tenants/{format_id('ten', plane.tenant_id)}")
        assert (own.status_code, own.json()["code"]) == (409, "own_tenant")


async def test_a_name_is_taken_once_whatever_its_case(plane: ControlPlane) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        tenant = await make(admin)
        again = await admin.post("/api/v1/tenants", json={"name": str(tenant["name"]).upper()})
        other = await make(admin, name="Ünïcode ✓ GmbH")
    assert (again.status_code, again.json()["code"]) == (409, "name_taken")
    assert other["slug"] == "unicode-gmbh"


async def test_a_tenants_own_administrator_sets_no_limits(plane: ControlPlane) -> None:
    own = f"/api/v1/tenants/{format_id('ten', plane.tenant_id)}"
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        assert (await admin.patch(own, json={"email": "us@example.com", "logging_policy": "none"})).status_code == 200
        for change in (
            {"rate_limit": 10**6},
            {"monthly_budget_usd": "1000000"},
            {"is_active": False},
            {"allowed_models": ["*"]},
            {"allowed_providers": ["*"]},
        ):
            answer = await admin.patch(own, json=change)
            assert (answer.status_code, answer.json()["code"]) == (403, "platform_only"), change
        assert (await admin.post("/api/v1/tenants", json={"name": a_name()})).status_code == 403
        assert (await admin.delete(own)).status_code == 403


async def test_flags_of_the_platform_are_not_the_tenants_to_set(plane: ControlPlane) -> None:
    own = f"/api/v1/tenants/{format_id('ten', plane.tenant_id)}"
    async with plane.as_role(Role.TENANT_ADMIN) as admin, plane.as_role(Role.PLATFORM_ADMIN) as platform:
        assert (await platform.patch(own, json={"flags": {"key_import": False}})).status_code == 200
        mine = await admin.patch(own, json={"flags": {"provider_headers": False, "key_import": False}})
        assert mine.json()["flags"] == {"key_import": False, "provider_headers": False}
        for value in (True, None):
            refused = await admin.patch(own, json={"flags": {"key_import": value}})
            assert (refused.status_code, refused.json()["code"]) == (403, "platform_only")
        cleared = await platform.patch(own, json={"flags": {"key_import": None, "provider_headers": None}})
        assert cleared.json()["flags"] == {}
        listed = (await admin.get("/api/v1/tenants/flags")).json()
    assert listed["next_cursor"] is None
    assert {flag["name"]: flag["is_self_service"] for flag in listed["data"]} == {
        "provider_headers": True,
        "maintainers_make_projects": True,
        "key_import": False,
        "priority_calls": False,
    }


async def test_settings_are_changed_one_by_one(plane: ControlPlane) -> None:
    own = f"/api/v1/tenants/{format_id('ten', plane.other_tenant_id)}"
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as admin:
        first = await admin.patch(own, json={"settings": {"longest_key_days": 30, "default_key_days": 7}})
        second = await admin.patch(
            own, json={"settings": {"default_key_days": None, "allowed_email_domains": ["Example.com"]}}
        )
        refused = await admin.patch(own, json={"settings": {"default_key_days": 31}})
    assert first.json()["settings"] == {
        "default_key_days": 7,
        "longest_key_days": 30,
        "allowed_email_domains": None,
    }
    assert second.json()["settings"] == {
        "default_key_days": None,
        "longest_key_days": 30,
        "allowed_email_domains": ["example.com"],
    }
    assert refused.status_code == 422


async def test_a_second_factor_is_asked_for_from_the_next_call_on(plane: ControlPlane) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        tenant = await make(admin)
        user_id = await plane.new_user(Role.TENANT_ADMIN, parse_id("ten", str(tenant["id"])))
        async with plane.as_user(user_id) as client:
            path = f"/api/v1/tenants/{tenant['id']}"
            assert (await client.patch(path, json={"require_second_factor": True})).status_code == 200
            refused = await client.get(path)
            assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")
            assert (await client.get("/api/v1/me")).status_code == 200


async def test_other_tenants_do_not_exist(plane: ControlPlane) -> None:
    foreign = f"/api/v1/tenants/{format_id('ten', plane.other_tenant_id)}"
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        listed = (await admin.get("/api/v1/tenants")).json()["data"]
        assert [item["id"] for item in listed] == [format_id("ten", plane.tenant_id)]
        unknown = await admin.get(f"/api/v1/tenants/{format_id('ten', uuid7())}")
        for answer in (await admin.get(foreign), await admin.patch(foreign, json={"email": "x@example.com"})):
            assert answer.status_code == 404
            assert answer.json()["detail"] == unknown.json()["detail"]


async def test_every_column_a_client_may_not_write_is_refused(plane: ControlPlane) -> None:
    accepted = {"name", "email", "is_active", "rate_limit", "allowed_models", "allowed_providers", "logging_policy"}
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        tenant = await make(admin)
        for column in [column.name for column in Tenant.__table__.c if column.name not in accepted]:
            body = {"name": a_name(), column: 1}
            assert (await admin.post("/api/v1/tenants", json=body)).status_code == 422, column
            assert (await admin.patch(f"/api/v1/tenants/{tenant['id']}", json={column: 1})).status_code == 422, column


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "a", "rate_limit": 0},
        {"name": "a", "rate_limit": 1.5},
        {"name": "a", "monthly_budget_usd": 1.5},
        {"name": "a", "monthly_budget_usd": "-1"},
        {"name": "a", "monthly_budget_usd": "1e400"},
        {"name": "a", "monthly_budget_usd": "NaN"},
        {"name": "a", "monthly_budget_usd": "9000001"},
        {"name": "a", "monthly_budget": True},
        {"name": "a", "monthly_budget": "1", "monthly_budget_usd": "1"},
        {"name": "a", "logging_policy": "everything"},
        {"name": "a", "is_active": "yes"},
        {"name": "a", "is_active": None},
        {"name": "a", "allowed_models": "gpt-4o"},
        {"name": "a", "flags": {"teleport": True}},
        {"name": "a", "flags": None},
        {"name": "a", "settings": {"unknown": 1}},
        {"name": "a", "settings": None},
        {"name": "a", "settings": {"default_key_days": 0}},
        {"name": "a", "require_second_factor": "yes"},
    ],
)
async def test_bad_bodies_are_422(plane: ControlPlane, body: dict[str, object]) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        answer = await admin.post("/api/v1/tenants", json=body)
    assert answer.status_code == 422, answer.text


async def test_if_match_guards_a_change(plane: ControlPlane) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        tenant = await make(admin)
        path = f"/api/v1/tenants/{tenant['id']}"
        tag = (await admin.get(path)).headers["etag"]
        assert (await admin.patch(path, json={"rate_limit": 1}, headers={"if-match": tag})).status_code == 200
        assert (await admin.patch(path, json={"rate_limit": 2}, headers={"if-match": tag})).status_code == 412
