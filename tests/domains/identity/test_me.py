"""`/api/v1/me`, and a session that acts as one of its user's keys."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import update

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Permission, Role
from tollkeeper.db.models import Member, Tenant, UsageRollup, User
from tollkeeper.domains.identity.sessions import Sessions

# Of a key in no team and no project.
NONE = UUID(int=0)


async def test_me_tells_identity_keys_usage_and_limits(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    key_id, _ = await plane.new_key(user_id, "inference")
    await plane.new_key(await plane.user(Role.TENANT_ADMIN), "inference")
    async with plane.database.platform() as session:
        for owner, nano in ((user_id, 250_000_000), (uuid7(), 1_000_000_000)):
            session.add(
                UsageRollup(
                    hour=plane.clock.now(), tenant_id=plane.tenant_id, api_key_id=uuid7(), user_id=owner,
                    team_id=NONE, project_id=NONE, model="m", provider="p", requests=2, prompt_tokens=10, completion_tokens=5, charge_nano=nano, cost_nano=nano,
                )
            )  # fmt: skip
        changed = {"monthly_budget_nano": 2_000_000_000, "rate_limit": 100, "allowed_models": ["gpt-*"]}
        tenant = await session.get_one(Tenant, plane.tenant_id)
        for name, value in changed.items():
            setattr(tenant, name, value)
    async with plane.as_user(user_id) as client:
        shown = (await client.get("/api/v1/me")).json()
    assert (shown["id"], shown["role"], shown["credential"]) == (format_id("usr", user_id), "developer", "session")
    assert shown["tenant"]["id"] == format_id("ten", plane.tenant_id)
    assert [key["id"] for key in shown["keys"]] == [key_id]
    usage = {name: value for name, value in shown["usage"].items() if name != "since"}
    assert usage == {"requests": 2, "prompt_tokens": 10, "completion_tokens": 5, "cost_usd": "0.25"}
    limits = shown["limits"]
    assert limits["tenant_requests_per_minute"] == 100
    assert limits["allowed_models"] == ["gpt-*"]
    assert [limits[name] for name in ("monthly_budget_usd", "current_spend_usd", "remaining_usd")] == [
        "2", "1.25", "0.75",
    ]  # fmt: skip
    assert shown["permissions"] == sorted(shown["permissions"])


async def test_an_inference_key_sees_itself_and_no_sibling(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.TENANT_ADMIN)
    own_id, secret = await plane.new_key(user_id, "inference", rate_limit_override=7)
    await plane.new_key(user_id, "admin")
    async with plane.client(authorization=f"Bearer {secret}") as client:
        shown = (await client.get("/api/v1/me")).json()
    assert [key["id"] for key in shown["keys"]] == [own_id]
    assert shown["key_id"] == own_id
    assert shown["csrf_token"] is None
    assert shown["limits"]["key_requests_per_minute"] == 7
    assert set(shown["permissions"]) == {"budgets:view", "gateway:use", "limits:view", "me:view"}
    assert secret not in str(shown)


async def test_me_tells_where_a_session_may_work_and_how_fresh_it_is(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.VIEWER)
    async with plane.database.platform() as session:
        session.add(Member(tenant_id=plane.other_tenant_id, user_id=user_id, role="finance"))
    async with plane.as_user(user_id) as client:
        shown = (await client.get("/api/v1/me")).json()
    home, other = (format_id("ten", tenant_id) for tenant_id in (plane.tenant_id, plane.other_tenant_id))
    assert shown["home_tenant_id"] == home
    assert [(item["id"], item["role"], item["is_home"], item["is_current"]) for item in shown["tenants"]] == [
        (home, "viewer", True, True),
        (other, "finance", False, False),
    ]
    assert shown["second_factor"] == {"is_set_up": False, "is_required": False, "must_set_up": False}
    proven, until = (datetime.fromisoformat(shown["session"][name]) for name in ("authenticated_at", "fresh_until"))
    assert (until - proven).total_seconds() == plane.services.settings.step_up_seconds
    assert [level["kind"] for level in shown["effective"]["levels"]] == ["tenant", "user"]
    assert shown["effective"]["permissions"]["source"] == {"kind": "role", "id": None, "name": "viewer"}
    assert shown["effective"]["permissions"]["value"] == shown["permissions"]


async def test_a_key_knows_of_its_own_tenant_and_of_what_holds_for_it(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    async with plane.database.platform() as session:
        session.add(Member(tenant_id=plane.other_tenant_id, user_id=user_id, role="finance"))
    key_id, secret = await plane.new_key(user_id, "inference", allowed_models_override=["a"])
    async with plane.client(authorization=f"Bearer {secret}") as client:
        shown = (await client.get("/api/v1/me")).json()
    assert [item["id"] for item in shown["tenants"]] == [format_id("ten", plane.tenant_id)]
    assert shown["session"] is None
    assert shown["effective"]["levels"][-1]["id"] == key_id
    assert shown["effective"]["scopes"]["value"] == ["inference"]


async def test_a_missing_second_factor_is_named_as_the_source_of_what_is_left(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER, plane.other_tenant_id)
    async with plane.database.platform() as session:
        tenant = await session.get(Tenant, plane.other_tenant_id)
        assert tenant is not None
        tenant.require_second_factor = True
    async with plane.as_user(user_id) as client:
        shown = (await client.get("/api/v1/me")).json()
    assert shown["second_factor"] == {"is_set_up": False, "is_required": True, "must_set_up": True}
    assert shown["effective"]["permissions"]["source"]["kind"] == "tenant"
    assert shown["effective"]["permissions"]["value"] == shown["permissions"] == ["me:update", "me:view"]


async def test_every_role_may_ask_who_it_is(plane: ControlPlane) -> None:
    for role in Role:
        async with plane.as_role(role) as client:
            assert (await client.get("/api/v1/me")).json()["role"] == role.value


async def test_a_session_without_the_second_factor_it_needs_acts_as_no_key(plane: ControlPlane) -> None:
    sessions = Sessions(plane.services.key_lookup, plane.services.identities, plane.services.access_tokens)
    user_id = await plane.new_user(Role.DEVELOPER)
    own, _ = await plane.new_key(user_id, "inference")
    token = await plane.session_token(user_id)
    needed = update(Tenant).where(Tenant.id == plane.tenant_id)
    async with plane.database.platform() as session:
        await session.execute(needed.values(require_second_factor=True))
    record = await sessions.find_by_session(token, parse_id("key", own))
    async with plane.database.platform() as session:
        await session.execute(needed.values(require_second_factor=False))
    assert record is not None
    assert record.refusal is not None
    assert "second factor" in record.refusal


async def test_a_session_acts_as_its_users_own_keys_alone(plane: ControlPlane) -> None:
    sessions = Sessions(plane.services.key_lookup, plane.services.identities, plane.services.access_tokens)
    user_id = await plane.new_user(Role.DEVELOPER)
    own, _ = await plane.new_key(user_id, "inference", allowed_models_override=["gpt-4o"])
    others, _ = await plane.new_key(await plane.user(Role.DEVELOPER), "inference")
    revoked, _ = await plane.new_key(user_id, "inference", status="revoked")
    token = await plane.session_token(user_id)
    record = await sessions.find_by_session(token, parse_id("key", own))
    assert record is not None
    assert record.refusal is None
    assert record.principal.allowed_models is not None
    assert Permission.GATEWAY_USE in record.principal.permissions
    assert record.digests == ()
    assert await sessions.find_by_session(token, parse_id("key", others)) is None
    assert await sessions.find_by_session(token, uuid7()) is None
    assert await sessions.find_by_session("eyJ.eyJ.x", parse_id("key", own)) is None
    refused = await sessions.find_by_session(token, parse_id("key", revoked))
    assert refused is not None
    assert refused.refusal is not None
    async with plane.database.platform() as session:
        await session.execute(update(User).where(User.id == user_id).values(session_epoch=9))
    assert await sessions.find_by_session(token, parse_id("key", own)) is None
