"""Routing in the running product: a canary that fails is rolled back, a spent budget leads to a cheaper model, and a worker
that comes late spares what the others found broken."""

import json
from collections.abc import Callable
from signal import SIGKILL

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.faults import processes
from tests.faults.gateway import PRICE, Gateway, UpstreamProcess, default_config, eventually
from tests.faults.lines import Line, know_key, lines_to_all
from tests.faults.test_budgets import spending

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-routing")]

# Breakers stay out of the canary's way, and a hung one stays open until a late worker asks.
UNMOVED = {"failures": 1_000, "least_calls": 100_000}
LONG_OPEN = {"failures": 3, "open_seconds": 110, "most_open_seconds": 110, "floor": "0"}
POLICIES = [
    {
        "name": "tried",
        "strategy": "canary",
        "canary": {"share": "0.5", "least_calls": 10},
        "breaker": UNMOVED,
        "branches": [{"provider": "up", "model": "up-ok"}, {"provider": "up", "model": "up-status500"}],
    },
    {
        "name": "thrifty",
        "branches": [{"provider": "up", "model": "up-dear"}],
        "fallbacks": {"budget": [{"provider": "up", "model": "up-cheap"}]},
    },
    {
        "name": "careful",
        "breaker": LONG_OPEN,
        "branches": [{"provider": "up", "model": "up-status503"}, {"provider": "up", "model": "up-spare"}],
    },
]
# Ten tokens of the prompt cost nothing, the five of an answer this much.
DEAR_NANO = 5_000_000


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway], upstream: UpstreamProcess, dead_port: int) -> Gateway:
    gateway = new_gateway(workers=2, is_started=False)
    config = default_config(upstream.port, dead_port)
    config["route_policies"] = POLICIES
    config["models"] += [
        {"name": "tried", "policy": "tried", "price": PRICE},
        {"name": "thrifty", "policy": "thrifty"},
        {"name": "careful", "policy": "careful", "price": PRICE},
    ]
    gateway.write_config(config)
    gateway.start()
    for model, dollars in (("up-dear", "1000"), ("up-cheap", "1")):
        price = {"input_per_million": "0", "output_per_million": dollars}
        gateway.ask("POST", "/api/v1/catalog/prices", {"provider": "up", "model": model, **price})
    return gateway


async def rollbacks(line: Line) -> float:
    status, body = await line.ask("GET", "/metrics")
    assert status == 200
    samples = [one for family in text_string_to_metric_families(body.decode()) for one in family.samples]
    return sum(one.value for one in samples if one.name == "tollkeeper_canary_rollbacks_total")


async def test_a_failing_canary_is_rolled_back_on_every_worker_and_no_caller_notices(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    await know_key(gateway)
    statuses: list[int] = []
    async with lines_to_all(gateway) as lines:
        first, second = lines.values()

        async def call(line: Line, word: str) -> None:
            statuses.append((await line.chat(gateway.key, "tried", word))[0])

        async def is_rolled_back() -> bool:
            await call(first, "before")
            return await rollbacks(first) >= 1

        await eventually(is_rolled_back, seconds=30, what="the canary is rolled back")
        asked = {served["model"] for served in upstream.find("before")}

        async def is_spared_by_both() -> bool:
            seen = len(upstream.log())
            for line in (first, second):
                for _ in range(10):
                    await call(line, "after")
            return all(served["model"] == "up-ok" for served in upstream.log()[seen:])

        await eventually(is_spared_by_both, seconds=30, what="no worker sends anything to the canary")
    assert asked == {"up-ok", "up-status500"}
    assert set(statuses) == {200}


async def test_a_budget_without_room_for_the_dear_model_leads_to_the_cheap_one(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    async with spending(gateway, DEAR_NANO * 5 // 2) as spender:

        async def call() -> tuple[int, str | None]:
            document = {
                "model": "thrifty",
                "messages": [{"role": "user", "content": "say five words"}],
                "max_tokens": 5,
                "user": spender.word,
            }
            headers = {"authorization": f"Bearer {spender.key}"}
            async with spender.session.post(
                f"{gateway.origin}/v1/chat/completions", json=document, headers=headers
            ) as answer:
                await answer.read()
                return answer.status, answer.headers.get("x-tollkeeper-fallback")

        told = [await call() for _ in range(4)]

        assert told == [(200, None), (200, None), (200, "budget"), (200, "budget")]
        assert [served["model"] for served in upstream.find(spender.word)] == ["up-dear"] * 2 + ["up-cheap"] * 2
        await eventually(spender.is_settled, seconds=15, what="nothing held, spent = ledger")
        assert await spender.ledger_nano() == 2 * DEAR_NANO + 2 * DEAR_NANO // 1000


async def test_a_worker_that_comes_late_spares_what_the_others_found_broken(gateway: Gateway) -> None:
    await know_key(gateway)
    async with lines_to_all(gateway) as lines:
        (_, first), (victim, _) = lines.items()
        for _ in range(4):
            assert (await first.chat(gateway.key, "careful", "opens"))[0] == 200
        assert await state(gateway, first) == "open"
        processes.send(victim, SIGKILL)
    await eventually(
        lambda: victim not in gateway.worker_pids() and len(gateway.worker_pids()) == 2,
        seconds=30,
        what="another worker takes its place",
    )

    async with lines_to_all(gateway) as lines:
        assert victim not in lines

        async def is_spared_by_all() -> bool:
            return {await state(gateway, line) for line in lines.values()} == {"open"}

        await eventually(is_spared_by_all, seconds=10, what="the new worker knows of the open breaker")


async def state(gateway: Gateway, line: Line) -> str | None:
    """Of the broken target, as the worker behind this line has it."""
    status, body = await line.ask("GET", "/api/v1/router/health?provider=up", gateway.key)
    assert status == 200, body
    return next((row["state"] for row in json.loads(body)["data"] if row["model"] == "up-status503"), None)
