"""Sessions over several tenants: switching, listing, ending, idling, and proving oneself once more."""

from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy import select, update

from tests.domains.control_plane import ControlPlane
from tests.domains.identity.people import COOKIE, PASSWORD, browser, email_of, join, person, sign_in, status, take_over
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import Member, RefreshSession, Tenant, User

SWITCH = "/api/v1/auth/switch"
STEP_UP = "/api/v1/auth/step-up"


async def guest(plane: ControlPlane) -> UUID:
    """At home in the first tenant, and a tenant administrator in the other one."""
    user_id = await person(plane, Role.VIEWER)
    await join(plane, user_id, plane.other_tenant_id, Role.TENANT_ADMIN)
    return user_id


def named(tenant_id: UUID) -> dict[str, str]:
    return {"tenant_id": format_id("ten", tenant_id)}


async def test_a_session_goes_on_in_another_tenant_with_that_tenants_role(plane: ControlPlane) -> None:
    user_id = await guest(plane)
    async with browser(plane) as client:
        home = (await sign_in(client, user_id)).json()
        cookie = client.cookies[COOKIE]
        me = (await client.get("/api/v1/me")).json()
        assert (me["role"], me["tenant"]["id"]) == ("viewer", format_id("ten", plane.tenant_id))
        switched = await client.post(SWITCH, json=named(plane.other_tenant_id))
        assert switched.status_code == 200, switched.text
        take_over(client, switched.json())
        me = (await client.get("/api/v1/me")).json()
        assert (me["role"], me["tenant"]["id"]) == ("tenant_admin", format_id("ten", plane.other_tenant_id))
        # The one before has ended, cookie and token.
        async with plane.client(authorization=f"Bearer {home['access_token']}") as program:
            assert await status(program) == 401
        async with plane.client(cookie=f"{COOKIE}={cookie}") as replay:
            assert await status(replay) == 401
        async with plane.client(authorization=f"Bearer {switched.json()['access_token']}") as program:
            assert await status(program, "/api/v1/users") == 200
        refreshed = await client.post("/api/v1/auth/refresh")
        assert refreshed.status_code == 200
        assert (await client.get("/api/v1/me")).json()["tenant"]["id"] == format_id("ten", plane.other_tenant_id)
        take_over(client, (await client.post(SWITCH, json=named(plane.tenant_id))).json())
        assert (await client.get("/api/v1/me")).json()["role"] == "viewer"


async def test_only_where_one_is_a_member_now(plane: ControlPlane) -> None:
    user_id = await guest(plane)
    async with browser(plane) as client:
        await sign_in(client, user_id)
        unknown = await client.post(SWITCH, json=named(uuid7()))
        assert unknown.status_code == 404

        async def refused() -> None:
            answer = await client.post(SWITCH, json=named(plane.other_tenant_id))
            assert answer.status_code == 404
            assert answer.json()["detail"] == unknown.json()["detail"]

        for change, back in (
            ({"is_active": False}, {"is_active": True}),
            ({"removed_at": plane.clock.now()}, {"removed_at": None}),
        ):
            await set_member(plane, user_id, plane.other_tenant_id, **change)
            await refused()
            await set_member(plane, user_id, plane.other_tenant_id, **back)
        async with plane.database.platform() as session:
            await session.execute(update(Tenant).where(Tenant.id == plane.other_tenant_id).values(is_active=False))
        await refused()
        async with plane.database.platform() as session:
            await session.execute(update(Tenant).where(Tenant.id == plane.other_tenant_id).values(is_active=True))
        assert (await client.post(SWITCH, json=named(plane.other_tenant_id))).status_code == 200


async def set_member(plane: ControlPlane, user_id: UUID, tenant_id: UUID, **values: object) -> None:
    async with plane.database.platform() as session:
        await session.execute(
            update(Member).where(Member.user_id == user_id, Member.tenant_id == tenant_id).values(**values)
        )


async def test_who_leaves_a_tenant_is_out_of_it_at_once_and_stays_signed_in_at_home(plane: ControlPlane) -> None:
    user_id = await guest(plane)
    async with browser(plane) as away, browser(plane) as home:
        await sign_in(home, user_id)
        await sign_in(away, user_id)
        take_over(away, (await away.post(SWITCH, json=named(plane.other_tenant_id))).json())
        await set_member(plane, user_id, plane.other_tenant_id, removed_at=plane.clock.now())
        assert (await status(away), await status(home)) == (401, 200)
        assert (await away.post("/api/v1/auth/refresh")).status_code == 401


async def test_a_raised_epoch_ends_sessions_in_every_tenant(plane: ControlPlane) -> None:
    user_id = await guest(plane)
    async with browser(plane) as client:
        await sign_in(client, user_id)
        take_over(client, (await client.post(SWITCH, json=named(plane.other_tenant_id))).json())
        async with plane.database.platform() as session:
            await session.execute(update(User).where(User.id == user_id).values(session_epoch=User.session_epoch + 1))
        assert await status(client) == 401
        assert (await client.post("/api/v1/auth/refresh")).status_code == 401


async def test_switching_is_no_new_proof_and_no_longer_life(plane: ControlPlane) -> None:
    user_id = await guest(plane)
    async with browser(plane) as client:
        await sign_in(client, user_id)
        before = (await client.get("/api/v1/me/sessions")).json()["data"][0]
        plane.clock.ahead = 200
        take_over(client, (await client.post(SWITCH, json=named(plane.other_tenant_id))).json())
        after = (await client.get("/api/v1/me/sessions")).json()["data"][0]
        assert [after[name] for name in ("authenticated_at", "expires_at", "method")] == [
            before[name] for name in ("authenticated_at", "expires_at", "method")
        ]
        assert after["id"] != before["id"]


async def test_a_providers_session_stays_in_its_tenant(plane: ControlPlane) -> None:
    user_id = await guest(plane)
    async with browser(plane) as client:
        await sign_in(client, user_id)
        async with plane.database.platform() as session:
            await session.execute(update(RefreshSession).where(RefreshSession.user_id == user_id).values(method="oidc"))
        refused = await client.post(SWITCH, json=named(plane.other_tenant_id))
        assert (refused.status_code, refused.json()["code"]) == (403, "sign_in_method")


async def test_keys_switch_nothing_and_see_no_sessions(plane: ControlPlane) -> None:
    _, secret = await plane.new_key(await plane.user(Role.PLATFORM_ADMIN), "admin", "inference")
    async with plane.client(authorization=f"Bearer {secret}") as client:
        for path in ("/api/v1/me/sessions", "/api/v1/me/second-factor"):
            assert (await client.get(path)).status_code == 403
        assert (await client.post(SWITCH, json=named(plane.tenant_id))).json()["code"] == "no_session"


async def test_ones_sessions_are_listed_and_ended_one_by_one(plane: ControlPlane) -> None:
    user_id, other_id = await guest(plane), await person(plane)
    async with browser(plane) as here, browser(plane, "198.51.100.9") as there, browser(plane) as other:
        await sign_in(there, user_id)
        take_over(there, (await there.post(SWITCH, json=named(plane.other_tenant_id))).json())
        await sign_in(here, user_id)
        await sign_in(other, other_id)
        await here.post("/api/v1/auth/refresh")
        listed = (await here.get("/api/v1/me/sessions")).json()["data"]
        assert len(listed) == 2
        current = next(row for row in listed if row["is_current"])
        away = next(row for row in listed if not row["is_current"])
        assert (current["address"], current["user_agent"], current["method"]) == ("192.0.2.1", "browser", "password")
        assert (away["address"], away["tenant_id"]) == ("198.51.100.9", format_id("ten", plane.other_tenant_id))
        assert {name for name in current if "token" in name or "digest" in name} == set()
        foreign = (await other.get("/api/v1/me/sessions")).json()["data"][0]["id"]
        for unknown in (foreign, format_id("ses", uuid7())):
            assert (await here.delete(f"/api/v1/me/sessions/{unknown}")).status_code == 404
        assert await status(other) == 200
        assert (await here.delete(f"/api/v1/me/sessions/{away['id']}")).status_code == 204
        assert (await status(there), await status(here)) == (401, 200)
        assert (await here.delete(f"/api/v1/me/sessions/{away['id']}")).status_code == 404
    assert "auth.session_ended" in await plane.audited(format_id("usr", user_id))


async def test_signing_out_everywhere_ends_all_of_them(plane: ControlPlane) -> None:
    user_id = await guest(plane)
    async with browser(plane) as here, browser(plane) as there:
        await sign_in(there, user_id)
        take_over(there, (await there.post(SWITCH, json=named(plane.other_tenant_id))).json())
        token = (await sign_in(here, user_id)).json()["access_token"]
        answer = await here.post("/api/v1/auth/logout-everywhere")
        assert answer.status_code == 204
        assert f'{COOKIE}=""' in answer.headers["set-cookie"]
        assert await status(there) == 401
        async with plane.client(authorization=f"Bearer {token}") as program:
            assert await status(program) == 401


async def test_an_unused_session_ends_whichever_way_it_is_used(plane: ControlPlane) -> None:
    user_id = await person(plane)
    async with browser(plane) as client:
        token = (await sign_in(client, user_id)).json()["access_token"]
        async with plane.client(authorization=f"Bearer {token}") as program:
            async with plane.database.platform() as session:
                # As if nobody had come for a day; the access token itself is good for a quarter of an hour.
                long_ago = plane.clock.now().replace(year=2020)
                rows = update(RefreshSession).where(RefreshSession.user_id == user_id)
                await session.execute(rows.values(created_at=long_ago, last_used_at=None))
            assert (await status(program), await status(client)) == (401, 401)


async def test_a_use_is_written_down_once_a_minute(plane: ControlPlane) -> None:
    user_id = await person(plane)

    async def last_used() -> datetime | None:
        async with plane.database.platform() as session:
            return await session.scalar(select(RefreshSession.last_used_at).where(RefreshSession.user_id == user_id))

    async with browser(plane) as client:
        token = (await sign_in(client, user_id)).json()["access_token"]
        async with plane.client(authorization=f"Bearer {token}") as program:
            await status(program)
            assert await last_used() is None
            plane.clock.ahead = 61
            await status(program)
            first = await last_used()
            assert first is not None
            plane.clock.ahead = 90
            await status(program)
            await status(client)
            assert await last_used() == first
            plane.clock.ahead = 130
            await status(client)
            assert await last_used() != first


async def test_an_old_proof_is_renewed_by_password(plane: ControlPlane) -> None:
    user_id = await person(plane, Role.TENANT_ADMIN)
    async with browser(plane) as client:
        await sign_in(client, user_id)
        body = {"email": f"{uuid7().hex}@example.com", "role": "viewer"}
        assert (await client.post("/api/v1/users", json=body)).status_code == 201
        plane.clock.ahead = 301
        body["email"] = f"{uuid7().hex}@example.com"
        stale = await client.post("/api/v1/users", json=body)
        assert (stale.status_code, stale.json()["code"]) == (403, "step_up_required")
        assert stale.json()["max_age_seconds"] == 300
        wrong = await client.post(STEP_UP, json={"password": "not the password"})
        assert (wrong.status_code, wrong.json()["code"]) == (403, "invalid_credentials")
        assert (await client.post("/api/v1/users", json=body)).status_code == 403
        proven = await client.post(STEP_UP, json={"password": PASSWORD})
        assert proven.status_code == 200, proven.text
        assert datetime.fromisoformat(proven.json()["fresh_until"]) > plane.clock.now()
        assert (await client.post("/api/v1/users", json=body)).status_code == 201
        # A refresh hands the proof on, and makes none.
        take_over(client, (await client.post("/api/v1/auth/refresh")).json())
        plane.clock.ahead = 603
        assert (await client.post("/api/v1/users", json=body)).json()["code"] == "step_up_required"
    assert "auth.step_up" in await plane.audited(format_id("usr", user_id))


async def test_one_session_s_proof_is_no_other_s(plane: ControlPlane) -> None:
    user_id = await person(plane, Role.TENANT_ADMIN)
    async with browser(plane) as one, browser(plane) as other:
        await sign_in(one, user_id)
        await sign_in(other, user_id)
        plane.clock.ahead = 301
        assert (await one.post(STEP_UP, json={"password": PASSWORD})).status_code == 200
        body = {"email": f"{uuid7().hex}@example.com", "role": "viewer"}
        assert (await other.post("/api/v1/users", json=body)).json()["code"] == "step_up_required"


async def test_guessing_at_the_step_up_is_throttled(plane: ControlPlane) -> None:
    user_id = await person(plane)
    async with browser(plane) as client:
        await sign_in(client, user_id)
        answers = [(await client.post(STEP_UP, json={"password": "guess"})).status_code for _ in range(12)]
    assert answers[0] == 403
    assert answers[-1] == 429


async def test_who_has_no_password_proves_themselves_elsewhere(plane: ControlPlane) -> None:
    async with plane.as_user(await plane.new_user(Role.DEVELOPER)) as client:
        assert (await client.post(STEP_UP, json={"password": "x"})).json()["code"] == "no_password"


@pytest.mark.parametrize("forged", ["0" * 32 + "." + "0" * 64, "x", "", "a" * 5000])
async def test_a_forged_device_is_nobodys(plane: ControlPlane, forged: str) -> None:
    user_id = await person(plane)
    async with browser(plane, "198.51.100.77") as thief:
        thief.cookies.set("tollkeeper_device", forged)
        body = {"email": email_of(user_id), "password": "guess"}
        answers = [(await thief.post("/api/v1/auth/login", json=body)).status_code for _ in range(6)]
    assert answers == [401] * 5 + [429]


async def test_another_accounts_device_is_nobodys(plane: ControlPlane) -> None:
    user_id, thief_id = await person(plane), await person(plane)
    async with browser(plane, "198.51.100.78") as thief:
        await sign_in(thief, thief_id)
        assert thief.cookies["tollkeeper_device"]
        answers = [(await sign_in(thief, user_id, "guess")).status_code for _ in range(6)]
    assert answers == [401] * 5 + [429]


async def test_the_public_id_of_a_session_is_its_familys(plane: ControlPlane) -> None:
    user_id = await person(plane)
    async with browser(plane) as client:
        await sign_in(client, user_id)
        listed = (await client.get("/api/v1/me/sessions")).json()["data"][0]
    async with plane.database.platform() as session:
        query = select(RefreshSession.family_id).where(RefreshSession.user_id == user_id)
        assert await session.scalar(query) == parse_id("ses", listed["id"])
