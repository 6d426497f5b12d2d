"""People with passwords, and browsers to sign in with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx

from tests.domains.control_plane import ORIGIN, ControlPlane
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import Member
from tollkeeper.domains.identity.throttle import LoginThrottle

PASSWORD = "correct horse battery"
COOKIE = "tollkeeper_session"
DEVICE = "tollkeeper_device"


@asynccontextmanager
async def browser(plane: ControlPlane, address: str = "192.0.2.1") -> AsyncIterator[httpx.AsyncClient]:
    """A cookie jar of its own, at an address."""
    transport = httpx.ASGITransport(plane.app, raise_app_exceptions=False, client=(address, 4711))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers={"user-agent": "browser"}) as client:
        yield client


def email_of(user_id: UUID) -> str:
    return f"{user_id.hex}@example.com"


async def sign_in(client: httpx.AsyncClient, user_id: UUID, password: str = PASSWORD, **more: Any) -> httpx.Response:
    """A right answer's CSRF token is sent along from then on, as the console does."""
    body = {"email": email_of(user_id), "password": password, **more}
    answer = await client.post("/api/v1/auth/login", json=body)
    if answer.status_code == 200:
        take_over(client, answer.json())
    return answer


def take_over(client: httpx.AsyncClient, signed_in: dict[str, Any]) -> None:
    client.headers["x-tollkeeper-csrf"] = signed_in["csrf_token"]


async def person(plane: ControlPlane, role: Role = Role.DEVELOPER, **more: Any) -> UUID:
    """With a password, and tries enough for a test."""
    plane.services.login_throttle = LoginThrottle(plane.clock)
    return await plane.new_user(role, password=PASSWORD, **more)


async def join(plane: ControlPlane, user_id: UUID, tenant_id: UUID, role: Role) -> None:
    """As a guest."""
    async with plane.database.platform() as session:
        session.add(Member(tenant_id=tenant_id, user_id=user_id, role=role.value))


async def status(client: httpx.AsyncClient, path: str = "/api/v1/me") -> int:
    return (await client.get(path)).status_code
