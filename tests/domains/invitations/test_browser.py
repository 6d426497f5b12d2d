"""A person in a browser: signs in at home, accepts an invitation by cookie, goes over, is removed, and goes on at home."""

from uuid import UUID

import httpx
from sqlalchemy import select

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import User

PASSWORD = "correct horse battery"


async def email_of(plane: ControlPlane, user_id: UUID) -> str:
    async with plane.database.platform() as session:
        return str(await session.scalar(select(User.email).where(User.id == user_id)))


async def test_a_guest_comes_goes_over_and_leaves(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.VIEWER, plane.other_tenant_id, password=PASSWORD)
    here, home = format_id("ten", plane.tenant_id), format_id("ten", plane.other_tenant_id)
    email = await email_of(plane, user_id)
    async with plane.as_role(Role.TENANT_ADMIN) as admin, plane.client() as browser:
        link = (await admin.post("/api/v1/invitations", json={"email": email})).json()["link"]
        signed_in = await browser.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
        csrf = {"x-tollkeeper-csrf": signed_in.json()["csrf_token"]}
        body = {"token": link.partition("#token=")[2]}
        # A page of another site has the cookie, but not its token.
        forged = await browser.post("/api/v1/invitations/accept", json=body)
        assert (forged.status_code, forged.json()["code"]) == (403, "csrf_token_missing")
        crossing = {**csrf, "sec-fetch-site": "cross-site"}
        assert (await browser.post("/api/v1/invitations/accept", json=body, headers=crossing)).status_code == 403
        accepted = await browser.post("/api/v1/invitations/accept", json=body, headers=csrf)
        assert (accepted.status_code, accepted.json()["tenant_id"]) == (200, here)

        csrf = await switch(browser, here, csrf)
        me = (await browser.get("/api/v1/me")).json()
        assert (me["tenant"]["id"], me["role"]) == (here, "developer")
        assert (await browser.get("/api/v1/keys")).status_code == 200
        assert (await browser.get("/api/v1/users")).status_code == 403

        assert (await admin.delete(f"/api/v1/users/{format_id('usr', user_id)}")).status_code == 204
        assert (await browser.get("/api/v1/me")).status_code == 401
        again = await browser.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
        csrf = {"x-tollkeeper-csrf": again.json()["csrf_token"]}
        assert (await browser.get("/api/v1/me")).json()["tenant"]["id"] == home
        refused = await browser.post("/api/v1/auth/switch", json={"tenant_id": here}, headers=csrf)
        assert refused.status_code == 404


async def switch(browser: httpx.AsyncClient, tenant_id: str, csrf: dict[str, str]) -> dict[str, str]:
    answer = await browser.post("/api/v1/auth/switch", json={"tenant_id": tenant_id}, headers=csrf)
    assert answer.status_code == 200, answer.text
    return {"x-tollkeeper-csrf": answer.json()["csrf_token"]}


async def test_a_demotion_at_home_ends_the_sessions_that_went_over(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER, plane.other_tenant_id, password=PASSWORD)
    email = await email_of(plane, user_id)
    async with (
        plane.as_role(Role.TENANT_ADMIN) as admin,
        plane.as_role(Role.TENANT_ADMIN, other=True) as at_home,
        plane.client() as browser,
    ):
        link = (await admin.post("/api/v1/invitations", json={"email": email})).json()["link"]
        signed_in = await browser.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
        csrf = {"x-tollkeeper-csrf": signed_in.json()["csrf_token"]}
        body = {"token": link.partition("#token=")[2]}
        assert (await browser.post("/api/v1/invitations/accept", json=body, headers=csrf)).status_code == 200
        await switch(browser, format_id("ten", plane.tenant_id), csrf)
        assert (await browser.get("/api/v1/me")).status_code == 200
        changed = await at_home.patch(f"/api/v1/users/{format_id('usr', user_id)}", json={"password": PASSWORD + "!"})
        assert changed.status_code == 200
        # The tenant that manages the account does not even see this session.
        assert (await browser.get("/api/v1/me")).status_code == 401
