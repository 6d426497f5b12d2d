"""Headers that differ from request to request leave with their own request, to the credential's origins, and stay nowhere."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.gateway.serving import ManualClock, provider
from tests.gateway.upstream import FakeUpstream
from tollkeeper.contracts.catalog import Credential
from tollkeeper.core.config import Settings
from tollkeeper.core.errors import UpstreamError
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.provider import NotSent, UpstreamRequest
from tollkeeper.gateway.upstream import Upstream


@pytest.fixture
async def client(clock: ManualClock) -> AsyncIterator[Upstream]:
    made = Upstream(Settings(_env_file=None), clock)
    yield made
    await made.aclose()


def request(config: Any, clock: ManualClock, **fields: Any) -> UpstreamRequest:
    values: dict[str, Any] = {
        "method": "POST",
        "url": f"{config.base_url}/x",
        "headers": {},
        "body": b"{}",
        "config": config,
        "deadline": clock.monotonic() + 5,
        "is_stream": False,
        "credential": config.credentials[0],
    }
    return UpstreamRequest(**{**values, **fields})


async def send(client: Upstream, sent: UpstreamRequest) -> None:
    response = await client.send(sent)
    try:
        await response.read()
    finally:
        await response.aclose()


async def test_signed_headers_make_no_routes_and_stay_in_none(
    client: Upstream, vendor: FakeUpstream, clock: ManualClock
) -> None:
    config = provider("one", vendor.base_url)
    for number in range(5):
        await send(client, request(config, clock, signed_headers={"authorization": f"Bearer token-{number}"}))
    await send(client, request(config, clock))

    assert [seen.header("authorization") for seen in vendor.seen] == [*(f"Bearer token-{n}" for n in range(5)), None]
    assert [seen.body for seen in vendor.seen] == [b"{}"] * 6
    assert vendor.connections == 1
    assert len(client._routes) == 1
    assert "token-" not in repr(client._routes)
    assert "token-" not in repr(request(config, clock, signed_headers={"authorization": "token-x"}))


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "a\r\nx-evil: 1"},
        {"x\r\ny": "a"},
        {"x y": "a"},
        {"x:y": "a"},
        {"x-ü": "a"},
        {"x": "a\0"},
    ],
)
async def test_signed_header_that_could_break_out_is_refused(
    client: Upstream, vendor: FakeUpstream, clock: ManualClock, headers: dict[str, str]
) -> None:
    with pytest.raises(UpstreamError) as told:
        await send(client, request(provider("one", vendor.base_url), clock, signed_headers=headers))
    assert told.value.code == "upstream_configuration"
    assert vendor.seen == []


@pytest.mark.parametrize("name", ["content-type", "user-agent", "x-own", "X-OWN"])
async def test_signed_header_that_stands_there_already_is_refused(
    client: Upstream, vendor: FakeUpstream, clock: ManualClock, name: str
) -> None:
    config = provider("one", vendor.base_url, headers={"X-Own": "1"})
    with pytest.raises(NotSent):
        await send(client, request(config, clock, signed_headers={name: "2"}))
    assert vendor.seen == []


async def test_signed_headers_go_to_the_credentials_origins_only(
    client: Upstream, vendor: FakeUpstream, clock: ManualClock
) -> None:
    bound = Credential(uuid7(), "{}", frozenset({"https://other.example:443"}))
    config = provider("one", vendor.base_url, credentials=(bound,))
    with pytest.raises(UpstreamError) as told:
        await send(client, request(config, clock, signed_headers={"authorization": "x"}))
    assert told.value.code == "upstream_origin"
    assert vendor.seen == []


async def test_operators_proxy_carries_them_too(client: Upstream, vendor: FakeUpstream, clock: ManualClock) -> None:
    config = provider("one", "http://vendor.test/v1", proxy_url=f"http://127.0.0.1:{vendor.port}")
    await send(client, request(config, clock, signed_headers={"authorization": "Bearer once"}))

    assert vendor.seen[0].path == "http://vendor.test/v1/x"
    assert vendor.seen[0].header("authorization") == "Bearer once"
    with pytest.raises(NotSent):
        await send(client, request(config, clock, signed_headers={"content-type": "x"}))
    assert len(vendor.seen) == 1
