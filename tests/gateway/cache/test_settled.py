"""The settlement table's rows of the cache (RULING 16): what a budget and the ledger get of answers that nobody made."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.cache.caching import Worker, attached, before, coalescing, policy, until, worker
from tests.gateway.cache.test_together import COST, Gated
from tests.gateway.serving import PRICE, chat
from tests.gateway.upstream import FakeUpstream, good_stream, silent, stream
from tests.money.records import FakeHolds
from tollkeeper.contracts.cache import CachePolicy, Settle
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.errors import InsufficientQuota, RateLimited

HELD = 10_000_000


def hold(one: Worker, holds: FakeHolds) -> None:
    one.gateway.admission.hold = holds.open(full=HELD, forecast=HELD, is_full=True, output_pico=PRICE.output)


@dataclass
class Way:
    """What the second call of two that ask for the same does, and what its row and its hold come to."""

    name: str
    status: CallStatus = CallStatus.CACHED
    charge: int = 0
    tokens: int = 0
    rules: Callable[[], CachePolicy] = policy
    body: dict[str, Any] = field(default_factory=chat)
    headers: dict[str, str] = field(default_factory=dict)


WAYS = [
    Way("exact"),
    Way("exact, streamed", body=chat(stream=True)),
    Way("asked for again", CallStatus.OK, COST, 15, headers={"x-tollkeeper-cache": "no-cache"}),
    Way("of another namespace", CallStatus.OK, COST, 15, headers={"x-tollkeeper-cache": "namespace=b"}),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_what_was_put_aside_comes_back(tmp_path: Path, vendor: FakeUpstream, way: Way) -> None:
    holds = FakeHolds()
    async with worker(tmp_path, before(vendor, attached(way.rules())), None, holds=holds) as one:
        if way.body.get("stream"):
            vendor.script = stream(*good_stream("Hel", "lo"))
        hold(one, holds)
        await one.ask(json=way.body)
        await until(lambda: len(holds.settled) == 1)
        hold(one, holds)
        answer = await one.ask(json=way.body, headers=way.headers)
        assert answer.status_code == 200
        await until(lambda: len(holds.settled) == 2)
        charged, rows, prompt, made = holds.settled[1]
        assert (charged, rows, prompt + made) == (way.charge, 1, way.tokens)
        assert holds.held == 0
        _, row = await one.gateway.settled(2)
        assert (row.status, row.charge_nano) == (way.status, way.charge)
        assert row.intent.budgets == ("budget:0:",)
        # What the caller was given is told, whoever paid for it.
        assert row.usage.prompt_tokens + row.usage.completion_tokens == 15
        assert len(one.gateway.settlements) == 2


SHARES = [(Settle.OWNER, [0, 0, 0, COST]), (Settle.SHARED, [COST // 4] * 3 + [COST - 3 * (COST // 4)])]


@pytest.mark.parametrize(("settle", "charges"), SHARES)
async def test_each_hold_of_calls_that_shared_an_answer_is_settled_at_its_part(
    tmp_path: Path, vendor: FakeUpstream, settle: Settle, charges: list[int]
) -> None:
    holds, gate = FakeHolds(), Gated()
    vendor.script = gate
    async with worker(tmp_path, before(vendor, attached(coalescing(settle=settle))), None, holds=holds) as one:
        tasks = []
        for count in range(1, 5):
            hold(one, holds)
            tasks.append(asyncio.create_task(one.ask()))
            await until(lambda count=count: sum(each.readers for each in one.flights._open) == count)  # type: ignore[misc]
        gate.go.set()
        await asyncio.gather(*tasks)
        await until(lambda: len(holds.settled) == 4)
        assert sorted(charged for charged, *_ in holds.settled) == sorted(charges)
        assert holds.held == 0
        rows = await one.gateway.settled(4)
        assert sorted(row.charge_nano or 0 for row in rows) == sorted(charges)
        assert sum(row.cost_nano or 0 for row in rows) == COST


async def test_who_leaves_a_shared_answer_keeps_nothing_aside(tmp_path: Path, vendor: FakeUpstream) -> None:
    holds = FakeHolds()
    vendor.script = silent()
    async with worker(tmp_path, before(vendor, attached(coalescing())), None, holds=holds) as one:
        tasks = []
        for count in range(1, 4):
            hold(one, holds)
            tasks.append(asyncio.create_task(one.ask()))
            await until(lambda count=count: sum(each.readers for each in one.flights._open) == count)  # type: ignore[misc]
        await until(lambda: bool(vendor.seen))
        for task in tasks:
            task.cancel()
        await until(lambda: len(holds.settled) == 3)
        assert holds.held == 0
        # Nobody has seen an answer: one row, of the request that was made.
        rows = await one.gateway.settled(1)
        assert [row.status for row in rows] == [CallStatus.CANCELLED]


async def test_near_a_limit_a_call_neither_leads_nor_follows(tmp_path: Path, vendor: FakeUpstream) -> None:
    """An answer that is cut for want of one caller's money is nobody else's."""
    holds = FakeHolds()
    async with worker(tmp_path, before(vendor, attached(coalescing())), None, holds=holds) as one:
        one.gateway.admission.hold = holds.open(full=HELD, forecast=HELD, is_full=False, output_pico=PRICE.output)
        vendor.script = stream(*good_stream("Hel", "lo"))
        assert (await one.ask(json=chat(stream=True))).status_code == 200
        assert not one.flights._open


async def test_a_call_that_only_money_refused_gets_the_answer_that_is_there(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    async with worker(tmp_path, before(vendor, attached(policy())), None) as one:
        await one.ask()
        one.gateway.admission.refusal = InsufficientQuota("No budget has room.")
        kept = await one.ask()
        assert (kept.status_code, kept.headers["x-tollkeeper-cache"]) == (200, "exact")
        other = await one.ask(json=chat(temperature=0))
        assert (other.status_code, other.json()["error"]["code"]) == (429, "insufficient_quota")
        fresh = await one.ask(headers={"x-tollkeeper-cache": "no-cache"})
        assert fresh.status_code == 429
        rows = await one.gateway.settled(2)
        assert [(row.status, row.charge_nano) for row in rows] == [(CallStatus.OK, COST), (CallStatus.CACHED, 0)]
        one.gateway.admission.refusal = RateLimited("Slow down.")
        assert (await one.ask()).status_code == 429
        assert len(vendor.seen) == len(one.gateway.settlements) - 1 == 1
