"""Identity from elsewhere, through the whole product: a person at a provider, a workload with its platform's token."""

import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from openai import AsyncOpenAI, AuthenticationError

from tests.e2e.processes import Product
from tests.oidc_provider import Provider, new_key, running_provider, sign
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


async def test_hostile_tokens_are_401_on_both_planes_and_ask_nobody(product: Product, provider: Provider) -> None:
    made = trust(product, provider, allows_sign_in=False, allows_workloads=True)
    key = product.new_key("hostile job")
    body = {"name": f"job {uuid7().hex}", "key_id": key["id"], "claims": {"sub": "job"}}
    product.admin("POST", f"/identity-providers/{made['id']}/bindings", json=body)
    claims = {"iss": provider.issuer, "aud": f"tollkeeper:{made['tenant_id']}", "sub": "job", "exp": 32_000_000_000}
    good, stranger = provider.keys[0], new_key()
    payload = sign(good, claims).split(".")[1]
    hostile = [
        sign(stranger, claims, jku=f"{provider.issuer}/evil"),
        sign(stranger, claims, jwk=stranger.public()),
        sign(stranger, claims, x5u=f"{provider.issuer}/evil"),
        sign(good, {**claims, "exp": 1}),
        sign(good, {**claims, "iss": "tollkeeper"}),
        sign(good, {**claims, "iss": "https://nobody.example"}),
        f"{segment({'alg': 'none'})}.{payload}.AAAA",
        f"{segment({'alg': 'HS256', 'kid': good.key_id})}.{payload}.AAAA",
        f"{segment({'alg': 'ES256', 'crit': ['b64'], 'b64': False})}.{payload}.AAAA",
        f"{segment({'alg': 'ES256', 'a': [[[[]]]]})}.{payload}.AAAA",
        f"eyJ{'b' * 900}.{payload}.AAAA",
        f"eyJ{'W' * 7000}.{payload}.AAAA",
        f"eyJhbGciOiJFUzI1NiJ9.{'W1tb' * 1500}.AAAA",
        "eyJ.eyJ.eyJ",
        "eyJhbGciOiJFUzI1NiJ9..",
    ]
    async with httpx.AsyncClient(base_url=product.origin, timeout=30) as client:
        for token in hostile:
            for named in ({}, {"x-tollkeeper-key-id": key["id"]}):
                headers = {"authorization": f"Bearer {token}", **named}
                statuses = [
                    (await client.get(path, headers=headers)).status_code for path in ("/v1/models", "/api/v1/me")
                ]
                assert statuses == [401, 401], token[:80]

    assert not provider.asked


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def until_refused(call: Callable[[], Awaitable[Any]]) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        await call()
