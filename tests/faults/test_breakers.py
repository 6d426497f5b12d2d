"""Breakers in two real workers: what one met makes the other careful, and one reset frees both."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.gateway import Gateway, UpstreamProcess, eventually
from tests.faults.lines import Line, know_key, lines_to_all

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-breakers")]

MODEL = "up-ok"
SECONDS = 15


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    return new_gateway(workers=2)


@asynccontextmanager
async def mood(upstream: UpstreamProcess, words: str) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{upstream.port}", trust_env=False) as client:
        await client.put("/mood", json={"words": words, "share": 1.0})
        try:
            yield
        finally:
            await client.put("/mood", content=b"null")


async def health(gateway: Gateway, line: Line) -> dict[str, Any]:
    """What the worker of this line says of the model; empty when it knows nothing of it."""
    status, body = await line.ask("GET", "/api/v1/router/health?provider=up", gateway.key)
    assert status == 200, body
    return next((row for row in json.loads(body)["data"] if row["model"] == MODEL), {})


async def open_breaker(gateway: Gateway, line: Line) -> None:
    async def is_open() -> bool:
        await line.chat(gateway.key, MODEL, "opens")
        return (await health(gateway, line)).get("state") in {"open", "half_open"}

    await eventually(is_open, seconds=SECONDS, what="the breaker opens")


async def test_a_breaker_of_one_worker_is_told_to_the_other_and_reset_by_either(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    await know_key(gateway)
    async with lines_to_all(gateway) as lines:
        first, second = lines.values()
        async with mood(upstream, "status500"):
            await open_breaker(gateway, first)

            async def is_suspect() -> bool:
                return (await health(gateway, second)).get("is_suspect") is True

            await eventually(is_suspect, seconds=SECONDS, what="the other worker is careful")
            assert (await health(gateway, second))["state"] == "closed"

            async def shows_it() -> bool:
                status, body = await second.ask("GET", "/metrics")
                assert status == 200
                samples = [one for family in text_string_to_metric_families(body.decode()) for one in family.samples]
                return any(
                    one.name == "tollkeeper_breaker_state" and one.labels["provider"] == "up" and one.value > 0
                    for one in samples
                )

            await eventually(shows_it, seconds=SECONDS, what="either worker's metrics show the breaker")
            status, body = await second.ask("POST", "/api/v1/router/breakers/reset", gateway.key, {"provider": "up"})
            assert status == 200, body

            async def is_closed() -> bool:
                return bool((await health(gateway, first))["state"] == "closed")

            await eventually(is_closed, seconds=SECONDS, what="the first worker's breaker is reset")


async def test_a_provider_that_is_down_leaves_the_gateway_ready(gateway: Gateway, upstream: UpstreamProcess) -> None:
    async with lines_to_all(gateway) as lines:
        line = next(iter(lines.values()))
        async with mood(upstream, "status500"):
            await open_breaker(gateway, line)

            status, body = await line.ask("GET", "/health/ready")

        ready = json.loads(body)
        assert status == 200
        assert ready["providers"]["up"] == {"status": "unavailable", "message": "breaker_open"}
        assert ready["providers"]["dead"]["status"] == "ok", "nobody has called it"
        assert ready["dependencies"]["providers"] == {"status": "ok", "message": "1 of 2 down: up"}

        async def both_are_down() -> bool:
            await line.chat(gateway.key, "dead", "opens")
            await line.chat(gateway.key, MODEL, "opens")
            status, body = await line.ask("GET", "/health/ready")
            assert status == 200
            return bool(json.loads(body)["dependencies"]["providers"]["status"] == "degraded")

        async with mood(upstream, "status500"):
            await eventually(both_are_down, seconds=SECONDS, what="with every provider down it is degraded")
