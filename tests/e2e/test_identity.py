"""Identity from elsewhere, through the whole product: a person at a provider, a workload with its platform's token."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from openai import AsyncOpenAI, AuthenticationError

from tests.e2e.processes import Product
from tests.oidc_provider import Provider, running_provider
from tollkeeper.core.ids import uuid7


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running_provider() as provider:
        provider.add("ann", email=f"ann-{uuid7().hex}@example.com")
        yield provider


def trust(product: Product, provider: Provider, **fields: Any) -> dict[str, Any]:
    body = {
        "name": f"Login {uuid7().hex}",
        "issuer": provider.issuer,
        "client_id": provider.client_id,
        "client_secret": provider.client_secret,
        "default_role": "developer",
        "allow_private_address": True,
        **fields,
    }
    answer = product.admin("POST", "/identity-providers", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    provider.redirect_uris.add(made["redirect_uri"])
    return made


async def test_browser_signs_in_at_a_provider_and_is_known_here(product: Product, provider: Provider) -> None:
    made = trust(product, provider)
    async with httpx.AsyncClient(base_url=product.origin) as window, httpx.AsyncClient() as outside:
        left = await window.get(f"/api/v1/auth/oidc/{made['id']}/start", params={"redirect_to": "/console/keys"})
        back = urlsplit((await outside.get(left.headers["location"])).headers["location"])
        arrived = await window.get(f"{back.path}?{back.query}")
        me = await window.get("/api/v1/me")

    assert (arrived.status_code, arrived.headers["location"]) == (302, "/console/keys")
    assert me.json()["email"] == provider.people["ann"]["email"]


async def test_workload_calls_with_the_token_of_its_platform(product: Product, provider: Provider) -> None:
    made = trust(product, provider, allows_sign_in=False, allows_workloads=True)
    key = product.new_key("build job")
    bound = product.admin(
        "POST",
        f"/identity-providers/{made['id']}/bindings",
        json={"name": f"job {uuid7().hex}", "key_id": key["id"], "claims": {"sub": "repo:example/app:*"}},
    )
    assert bound.status_code == 201, bound.text
    audience = f"tollkeeper:{made['tenant_id']}"

    async def call(token: str) -> Any:
        async with AsyncOpenAI(base_url=product.base_url, api_key=token, max_retries=0, timeout=30) as client:
            return await client.chat.completions.create(
                model="priced-chat", messages=[{"role": "user", "content": "Hello"}]
            )

    good = provider.token_for(audience, sub="repo:example/app:main")
    assert (await call(good)).choices[0].message.content
    assert (await call(good)).choices[0].message.content
    assert provider.asked["/keys"] == 1
    for token in (
        provider.token_for(audience, sub="repo:evil/app:main"),
        provider.token_for("tollkeeper:ten_" + "0" * 32, sub="repo:example/app:main"),
        good[:-8] + "AAAAAAAA",
    ):
        with pytest.raises(AuthenticationError):
            await call(token)

    product.admin("POST", f"/keys/{key['id']}/revoke")
    revoked_at = time.monotonic()
    with pytest.raises(AuthenticationError, match="revoked"):
        await until_refused(lambda: call(good))
    assert time.monotonic() - revoked_at < 1.5


async def until_refused(call: Callable[[], Awaitable[Any]]) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        await call()
