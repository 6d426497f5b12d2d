"""What administrators do for people who cannot help themselves, and for whom they may not."""

from uuid import UUID

import pytest
from sqlalchemy import update

from tests.domains.control_plane import ControlPlane
from tests.domains.identity.people import PASSWORD, browser, join, person, sign_in, status, take_over
from tests.domains.identity.test_second_factor import code_of, enrol, enrolled
from tests.domains.mailbox import link_token
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import User
from tollkeeper.domains.identity.throttle import LoginThrottle

NEW = "a wholly new phrase"


def path(user_id: UUID, what: str) -> str:
    return f"/api/v1/users/{format_id('usr', user_id)}/{what}"


async def test_a_link_handed_over_sets_a_password_and_leaves_the_second_factor(plane: ControlPlane) -> None:
    user_id, secret, _ = await enrolled(plane)
    async with plane.as_role(Role.TENANT_ADMIN) as admin, browser(plane) as client:
        await sign_in(client, user_id, code=code_of(plane, secret))
        made = await admin.post(path(user_id, "password-reset"), headers={"idempotency-key": "one"})
        assert made.status_code == 201, made.text
        assert "/console/reset-password#token=" in made.json()["link"]
        again = await admin.post(path(user_id, "password-reset"), headers={"idempotency-key": "one"})
        assert (again.status_code, again.json()["code"]) == (409, "already_done")
        assert await status(client) == 200
        body = {"token": link_token(made.json()["link"]), "new_password": NEW}
        assert (await client.post("/api/v1/auth/password-reset/complete", json=body)).status_code == 204
        assert await status(client) == 401
        assert (await sign_in(client, user_id, NEW)).json()["code"] == "second_factor_required"
    assert "users.password_reset" in await plane.audited(format_id("usr", user_id))


async def test_a_lost_factor_is_removed_and_every_session_ends(plane: ControlPlane) -> None:
    user_id, secret, _ = await enrolled(plane)
    async with plane.as_role(Role.TENANT_ADMIN) as admin, browser(plane) as client:
        await sign_in(client, user_id, code=code_of(plane, secret))
        assert (await admin.delete(path(user_id, "second-factor"))).status_code == 204
        assert await status(client) == 401
        assert (await sign_in(client, user_id)).status_code == 200
        assert (await admin.delete(path(user_id, "second-factor"))).json()["code"] == "no_second_factor"


async def test_an_accounts_sessions_end_everywhere_and_a_guests_in_this_tenant(plane: ControlPlane) -> None:
    user_id = await person(plane)
    await join(plane, user_id, plane.other_tenant_id, Role.DEVELOPER)
    async with browser(plane) as home, browser(plane) as away:
        await sign_in(home, user_id)
        await sign_in(away, user_id)
        there = {"tenant_id": format_id("ten", plane.other_tenant_id)}
        take_over(away, (await away.post("/api/v1/auth/switch", json=there)).json())
        async with plane.as_role(Role.TENANT_ADMIN, other=True) as other_admin:
            assert (await other_admin.delete(path(user_id, "sessions"))).status_code == 204
        assert (await status(home), await status(away)) == (200, 401)
        plane.services.login_throttle = LoginThrottle(plane.clock)
        await sign_in(away, user_id)
        take_over(away, (await away.post("/api/v1/auth/switch", json=there)).json())
        async with plane.as_role(Role.TENANT_ADMIN) as admin:
            assert (await admin.delete(path(user_id, "sessions"))).status_code == 204
        assert (await status(home), await status(away)) == (401, 401)


async def test_a_guests_account_is_its_own_tenants_to_help(plane: ControlPlane) -> None:
    user_id = await person(plane)
    await join(plane, user_id, plane.other_tenant_id, Role.VIEWER)
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as other_admin:
        for method, what in (("POST", "password-reset"), ("DELETE", "second-factor")):
            refused = await other_admin.request(method, path(user_id, what))
            assert (refused.status_code, refused.json()["code"]) == (403, "not_home_account")


async def test_nobody_helps_who_may_do_more_or_is_another_tenants(plane: ControlPlane) -> None:
    above, foreign = await person(plane, Role.PLATFORM_ADMIN), await person(plane, tenant_id=plane.other_tenant_id)
    calls = (("POST", "password-reset"), ("DELETE", "second-factor"), ("DELETE", "sessions"))
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        for method, what in calls:
            refused = await admin.request(method, path(above, what))
            assert (refused.status_code, refused.json()["code"]) == (403, "beyond_authority"), what
            unknown = await admin.request(method, path(uuid7(), what))
            hidden = await admin.request(method, path(foreign, what))
            assert unknown.status_code == hidden.status_code == 404
            assert unknown.json()["detail"] == hidden.json()["detail"]
    async with plane.as_role(Role.AUDITOR) as auditor:
        for method, what in calls:
            assert (await auditor.request(method, path(above, what))).status_code == 403
    async with plane.as_role(Role.PLATFORM_ADMIN) as ruler:
        assert (await ruler.post(path(foreign, "password-reset"))).status_code == 201


async def test_credentials_of_others_need_a_fresh_proof(plane: ControlPlane) -> None:
    admin_id, user_id = await person(plane, Role.TENANT_ADMIN), await person(plane)
    async with browser(plane) as admin:
        await sign_in(admin, admin_id)
        plane.clock.ahead = 301
        for method, what in (("POST", "password-reset"), ("DELETE", "second-factor")):
            assert (await admin.request(method, path(user_id, what))).json()["code"] == "step_up_required"
        # Ending sessions takes nothing from anybody but a thief.
        assert (await admin.delete(path(user_id, "sessions"))).status_code == 204


async def test_ones_own_credentials_are_changed_with_proof_of_them(plane: ControlPlane) -> None:
    admin_id = await person(plane, Role.TENANT_ADMIN)
    async with browser(plane) as admin:
        await sign_in(admin, admin_id)
        await enrol(plane, admin)
        for method, what in (("POST", "password-reset"), ("DELETE", "second-factor")):
            refused = await admin.request(method, path(admin_id, what))
            assert (refused.status_code, refused.json()["code"]) == (409, "own_account")


async def test_a_service_account_has_nothing_to_reset(plane: ControlPlane) -> None:
    service_id = await plane.new_user(Role.DEVELOPER)
    async with plane.database.platform() as session:
        await session.execute(update(User).where(User.id == service_id).values(kind="service"))
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        refused = await admin.post(path(service_id, "password-reset"))
        assert (refused.status_code, refused.json()["code"]) == (409, "service_account")
    plane.services.login_throttle = LoginThrottle(plane.clock)
    async with plane.database.platform() as session:
        hashed = await plane.services.passwords.hash(PASSWORD)
        await session.execute(update(User).where(User.id == service_id).values(password_hash=hashed))
    async with browser(plane) as client:
        assert (await sign_in(client, service_id)).status_code == 401


@pytest.mark.parametrize("becomes", [Role.VIEWER, None], ids=["demoted", "gone"])
async def test_a_link_opens_nothing_once_its_maker_may_not_give_one(plane: ControlPlane, becomes: Role | None) -> None:
    user_id, maker = await person(plane, Role.TENANT_ADMIN), await plane.new_user(Role.TENANT_ADMIN)
    async with plane.as_user(maker) as admin:
        made = await admin.post(path(user_id, "password-reset"))
    if becomes is None:
        async with plane.as_role(Role.TENANT_ADMIN) as other:
            assert (await other.delete(f"/api/v1/users/{format_id('usr', maker)}")).status_code == 204
    else:
        await plane.set_role(maker, becomes)
    async with browser(plane) as client:
        body = {"token": link_token(made.json()["link"]), "new_password": NEW}
        refused = await client.post("/api/v1/auth/password-reset/complete", json=body)
        assert (refused.status_code, refused.json()["code"]) == (404, "link_invalid")
        assert (await sign_in(client, user_id)).status_code == 200


async def test_a_link_opens_nothing_once_its_person_may_do_more_than_its_maker(plane: ControlPlane) -> None:
    user_id, maker = await person(plane, Role.TENANT_ADMIN), await plane.new_user(Role.TENANT_ADMIN)
    async with plane.as_user(maker) as admin:
        made = await admin.post(path(user_id, "password-reset"))
    await plane.set_role(user_id, Role.PLATFORM_ADMIN)
    async with browser(plane) as client:
        body = {"token": link_token(made.json()["link"]), "new_password": NEW}
        refused = await client.post("/api/v1/auth/password-reset/complete", json=body)
        assert (refused.status_code, refused.json()["code"]) == (404, "link_invalid")
