"""A tenant that trusts a provider, and browsers that go to it and come back: each a cookie jar of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx

from tests.domains.control_plane import ControlPlane
from tests.oidc_provider import Provider
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role

PROVIDERS = "/api/v1/identity-providers"
OIDC = "/api/v1/auth/oidc"
CALLBACK = f"{OIDC}/callback"
COOKIE = "tollkeeper_oidc"
SESSION = "tollkeeper_session"


async def trust(plane: ControlPlane, provider: Provider, tenant_id: UUID | None = None, **fields: Any) -> str:
    """Set up by the platform's administrator, whose word lets it live on the loopback. Its id."""
    tenant_id = tenant_id or plane.tenant_id
    body = {
        "name": f"Login {uuid7().hex}",
        "issuer": provider.issuer,
        "client_id": provider.client_id,
        "client_secret": provider.client_secret,
        "tenant_id": format_id("ten", tenant_id),
        "default_role": "developer",
        "allow_private_address": True,
        **fields,
    }
    async with plane.as_role(Role.PLATFORM_ADMIN) as client:
        answer = await client.post(PROVIDERS, json=body)
    assert answer.status_code == 201, answer.text
    provider.redirect_uris.add(answer.json()["redirect_uri"])
    return str(answer.json()["id"])


class Browser:
    """`jar` is its cookie jar for us."""

    def __init__(self, jar: httpx.AsyncClient) -> None:
        self.jar = jar

    async def leave(self, provider_id: str, **asked: Any) -> str:
        """To the provider's page, by our redirect. The address there."""
        answer = await self.jar.get(f"{OIDC}/{provider_id}/start", params=asked)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def prove(self, address: str) -> str:
        """At the provider, as whoever sits there. The address it sends the browser back to, as a path of ours."""
        async with httpx.AsyncClient() as outside:
            answer = await outside.get(address)
        assert answer.status_code == 302, answer.text
        back = urlsplit(answer.headers["location"])
        assert back.path == CALLBACK
        return f"{back.path}?{back.query}"

    async def come_back(self, path: str) -> httpx.Response:
        return await self.jar.get(path)

    async def sign_in(self, provider_id: str, **asked: Any) -> httpx.Response:
        return await self.come_back(await self.prove(await self.leave(provider_id, **asked)))

    async def me(self) -> dict[str, Any]:
        answer = await self.jar.get("/api/v1/me")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def me_id(self) -> UUID:
        return parse_id("usr", (await self.me())["id"])


@asynccontextmanager
async def browser(plane: ControlPlane, **headers: str) -> AsyncIterator[Browser]:
    async with plane.client(**headers) as jar:
        yield Browser(jar)


@asynccontextmanager
async def browser_of(plane: ControlPlane, user_id: UUID) -> AsyncIterator[Browser]:
    """Signed in already, as if by a password just now."""
    async with plane.as_user(user_id) as jar:
        yield Browser(jar)


def asked_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert SESSION not in answer.cookies
