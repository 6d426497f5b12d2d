"""Where the operator names the hosts, no other name is answered to; probes by address still are."""

import httpx
import pytest
from fastapi import FastAPI

from tollkeeper.web.hosts import AllowedHosts

inner = FastAPI()


@inner.get("/health/live")
@inner.get("/things")
async def things() -> dict[str, bool]:
    return {"ok": True}


async def ask(host: str, path: str = "/things") -> httpx.Response:
    transport = httpx.ASGITransport(AllowedHosts(inner, "gateway.example, *.internal,10.0.0.5"))
    async with httpx.AsyncClient(transport=transport, base_url="http://any") as client:
        return await client.get(path, headers={"host": host})


@pytest.mark.parametrize(
    "host", ["gateway.example", "GATEWAY.example:8443", "a.internal", "a.b.internal:80", "10.0.0.5"]
)
async def test_a_named_host_is_answered(host: str) -> None:
    assert (await ask(host)).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "gateway.example.evil", "internal", "xinternal", "a b", "[::1", "", "gateway.example@evil"]
)
async def test_another_host_is_refused_with_a_request_id(host: str) -> None:
    answer = await ask(host)

    assert answer.status_code == 421
    assert answer.json()["code"] == "unknown_host"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_probe_by_address_is_answered() -> None:
    assert (await ask("10.9.9.9:8000", "/health/live")).status_code == 200
