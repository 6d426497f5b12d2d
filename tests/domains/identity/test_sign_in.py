"""Signing in, staying signed in, and what ends it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, update

from tests.domains.control_plane import ORIGIN, ControlPlane
from tollkeeper.core.config import Settings
from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import Role
from tollkeeper.core.secrets import digest_opaque
from tollkeeper.db.models import RefreshSession, Tenant, User

PASSWORD = "correct horse battery"
COOKIE = "tollkeeper_session"


@asynccontextmanager
async def person(plane: ControlPlane) -> AsyncIterator[tuple[httpx.AsyncClient, UUID]]:
    """A browser without a cookie yet, and a user with a password."""
    user_id = await plane.new_user(Role.TENANT_ADMIN, password=PASSWORD)
    async with plane.client(**{"user-agent": "browser"}) as client:
        yield client, user_id


async def sign_in(client: httpx.AsyncClient, user_id: UUID, password: str = PASSWORD) -> httpx.Response:
    return await client.post(
        "/api/v1/auth/login", json={"email": f"{user_id.hex.upper()}@example.com", "password": password}
    )


async def me(plane: ControlPlane, token: str) -> int:
    async with plane.client(authorization=f"Bearer {token}") as client:
        return (await client.get("/api/v1/me")).status_code


async def test_signing_in_gives_a_short_token_and_a_cookie_out_of_reach(plane: ControlPlane) -> None:
    async with person(plane) as (client, user_id):
        answer = await sign_in(client, user_id)
        assert answer.status_code == 200, answer.text
        grant = answer.json()
        assert (grant["token_type"], grant["expires_in"]) == ("bearer", 900)
        assert await me(plane, grant["access_token"]) == 200
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"{COOKIE}=")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert client.cookies[COOKIE] not in answer.text
        assert answer.headers["cache-control"] == "no-store"
        shown = (await client.get("/api/v1/me")).json()
        assert shown["id"] == format_id("usr", user_id)
        assert shown["csrf_token"] == grant["csrf_token"]
    async with plane.database.platform() as session:
        user = await session.get(User, user_id)
        assert user is not None
        assert user.last_login_at is not None
        assert user.version == 1
    assert await plane.audited(format_id("usr", user_id)) == ["auth.login"]


async def test_over_https_the_cookie_is_bound_to_the_host(plane: ControlPlane) -> None:
    services = plane.services
    before, services.settings = services.settings, Settings(_env_file=None, public_url="https://gateway.example")
    try:
        async with person(plane) as (client, user_id):
            cookie = (await sign_in(client, user_id)).headers["set-cookie"]
    finally:
        services.settings = before
    assert cookie.startswith("__Host-tollkeeper_session=")
    assert {"Secure", "HttpOnly", "Path=/"} <= set(cookie.split("; "))
    assert "domain" not in cookie.lower()


async def test_every_wrong_sign_in_reads_the_same(plane: ControlPlane) -> None:
    async with person(plane) as (client, user_id):
        wrong = await sign_in(client, user_id, "another password")
        unknown = await client.post("/api/v1/auth/login", json={"email": "nobody@example.com", "password": PASSWORD})
        without = await sign_in(client, await plane.new_user(Role.DEVELOPER))
        async with plane.database.platform() as session:
            await session.execute(update(User).where(User.id == user_id).values(is_active=False))
        disabled = await sign_in(client, user_id)
    for answer in (wrong, unknown, without, disabled):
        assert answer.status_code == 401
        assert answer.json()["code"] == "invalid_credentials"
        assert answer.json()["detail"] == wrong.json()["detail"]
        assert "set-cookie" not in answer.headers


async def test_a_suspended_tenants_users_do_not_sign_in(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER, plane.other_tenant_id, password=PASSWORD)
    async with plane.database.platform() as session:
        await session.execute(update(Tenant).where(Tenant.id == plane.other_tenant_id).values(is_active=False))
    async with plane.client() as client:
        assert (await sign_in(client, user_id)).status_code == 401
    async with plane.database.platform() as session:
        await session.execute(update(Tenant).where(Tenant.id == plane.other_tenant_id).values(is_active=True))


@pytest.mark.parametrize(
    "body", [{}, {"email": "a@b"}, {"email": "a", "password": "x"}, {"email": "a@b", "password": "x" * 1025},
             {"email": "a@b", "password": 5}, {"email": "a@b", "password": "x", "role": "platform_admin"}],
)  # fmt: skip
async def test_bad_bodies_are_422(plane: ControlPlane, body: dict[str, object]) -> None:
    async with plane.client() as client:
        assert (await client.post("/api/v1/auth/login", json=body)).status_code == 422


async def test_a_refresh_rotates_the_cookie_and_keeps_the_session(plane: ControlPlane) -> None:
    async with person(plane) as (client, user_id):
        await sign_in(client, user_id)
        first = client.cookies[COOKIE]
        answer = await client.post("/api/v1/auth/refresh")
        assert answer.status_code == 200
        assert client.cookies[COOKIE] != first
        assert await me(plane, answer.json()["access_token"]) == 200
        assert (await client.get("/api/v1/me")).status_code == 200


async def test_a_used_refresh_token_ends_the_whole_family(plane: ControlPlane) -> None:
    async with person(plane) as (client, user_id):
        await sign_in(client, user_id)
        stolen = client.cookies[COOKIE]
        token = (await client.post("/api/v1/auth/refresh")).json()["access_token"]
        async with plane.client(cookie=f"{COOKIE}={stolen}", **{"user-agent": "thief"}) as thief:
            refused = await thief.post("/api/v1/auth/refresh")
        assert (refused.status_code, refused.json()["code"]) == (401, "session_ended")
        assert (await client.get("/api/v1/me")).status_code == 401
        assert (await client.post("/api/v1/auth/refresh")).status_code == 401
        assert await me(plane, token) == 401
    assert "auth.refresh_reused" in await plane.audited(format_id("usr", user_id))


async def test_the_same_client_late_is_a_thief_too(plane: ControlPlane) -> None:
    async with person(plane) as (client, user_id):
        await sign_in(client, user_id)
        old = client.cookies[COOKIE]
        await client.post("/api/v1/auth/refresh")
        plane.clock.ahead = 11
        async with plane.client(cookie=f"{COOKIE}={old}", **{"user-agent": "browser"}) as tab:
            assert (await tab.get("/api/v1/me")).status_code == 401
            assert (await tab.post("/api/v1/auth/refresh")).status_code == 401
        assert (await client.get("/api/v1/me")).status_code == 401


async def test_two_tabs_that_refresh_at_once_both_stay_signed_in(plane: ControlPlane) -> None:
    async with person(plane) as (client, user_id):
        await sign_in(client, user_id)
        cookie = client.cookies[COOKIE]

        async def tab() -> tuple[int, int]:
            async with plane.client(cookie=f"{COOKIE}={cookie}", **{"user-agent": "browser"}) as one:
                answer = await one.post("/api/v1/auth/refresh")
                return answer.status_code, await me(plane, answer.json()["access_token"])

        assert await asyncio.gather(*(tab() for _ in range(5))) == [(200, 200)] * 5


async def test_logging_out_ends_cookie_and_access_token_together(plane: ControlPlane) -> None:
    async with person(plane) as (client, user_id):
        grant = (await sign_in(client, user_id)).json()
        cookie = client.cookies[COOKIE]
        answer = await client.post("/api/v1/auth/logout", headers={"x-tollkeeper-csrf": grant["csrf_token"]})
        assert answer.status_code == 204
        assert f'{COOKIE}=""' in answer.headers["set-cookie"]
        assert await me(plane, grant["access_token"]) == 401
        async with plane.client(cookie=f"{COOKIE}={cookie}", **{"user-agent": "browser"}) as replay:
            assert (await replay.get("/api/v1/me")).status_code == 401
            assert (await replay.post("/api/v1/auth/refresh")).status_code == 401


async def test_a_session_ends_when_unused_and_at_its_end(plane: ControlPlane) -> None:
    async with person(plane) as (client, user_id):
        token = (await sign_in(client, user_id)).json()["access_token"]
        plane.clock.ahead = 16 * 60
        assert await me(plane, token) == 401
        for hours in range(20, 14 * 24, 20):
            plane.clock.ahead = hours * 3600
            assert (await client.get("/api/v1/me")).status_code == 200
        plane.clock.ahead = 14 * 24 * 3600 + 1
        assert (await client.get("/api/v1/me")).status_code == 401
    plane.clock.ahead = 0
    async with person(plane) as (client, user_id):
        await sign_in(client, user_id)
        plane.clock.ahead = 25 * 3600
        assert (await client.get("/api/v1/me")).status_code == 401
        assert (await client.post("/api/v1/auth/refresh")).status_code == 401


async def test_a_refresh_does_not_make_the_session_last_longer(plane: ControlPlane) -> None:
    async with person(plane) as (client, user_id):
        await sign_in(client, user_id)
        first = await expiry_of(plane, client.cookies[COOKIE])
        plane.clock.ahead = 3600
        await client.post("/api/v1/auth/refresh")
        assert await expiry_of(plane, client.cookies[COOKIE]) == first


async def expiry_of(plane: ControlPlane, token: str) -> object:
    async with plane.database.platform() as session:
        query = select(RefreshSession.expires_at).where(RefreshSession.token_digest == digest_opaque(token))
        return await session.scalar(query)


async def test_a_write_by_cookie_needs_the_csrf_token_and_our_own_origin(plane: ControlPlane) -> None:
    async with person(plane) as (client, user_id):
        token = (await sign_in(client, user_id)).json()["csrf_token"]
        body = {"name": "by cookie"}
        missing = await client.post("/api/v1/keys", json=body)
        wrong = await client.post("/api/v1/keys", json=body, headers={"x-tollkeeper-csrf": "0" * 64})
        assert [answer.json()["code"] for answer in (missing, wrong)] == ["csrf_token_missing", "csrf_token_wrong"]
        for foreign in (
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": "http://["},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ):
            answer = await client.post("/api/v1/keys", json=body, headers={"x-tollkeeper-csrf": token, **foreign})
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request"), foreign
            assert (await client.post("/api/v1/auth/refresh", headers=foreign)).status_code == 403
        ours = {"x-tollkeeper-csrf": token, "origin": ORIGIN, "sec-fetch-site": "same-origin"}
        assert (await client.post("/api/v1/keys", json=body, headers=ours)).status_code == 201
        assert (await client.get("/api/v1/keys")).status_code == 200


async def test_the_csrf_token_of_one_session_opens_no_other(plane: ControlPlane) -> None:
    async with person(plane) as (client, user_id), person(plane) as (other, other_id):
        await sign_in(client, user_id)
        foreign = (await sign_in(other, other_id)).json()["csrf_token"]
        answer = await client.post("/api/v1/keys", json={"name": "x"}, headers={"x-tollkeeper-csrf": foreign})
    assert answer.json()["code"] == "csrf_token_wrong"


async def test_a_key_signs_nobody_out(plane: ControlPlane) -> None:
    _, secret = await plane.new_key(await plane.user(Role.DEVELOPER), "admin")
    async with plane.client(authorization=f"Bearer {secret}") as client:
        assert (await client.post("/api/v1/auth/logout")).json()["code"] == "no_session"
        assert (await client.post("/api/v1/auth/refresh")).status_code == 401
