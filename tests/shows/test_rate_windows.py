"""100 calls a minute with a burst of 10 on four workers: no 60 seconds of any alignment hold more than 110.

In every run: ten minutes on a clock of the test's own, four workers on one Redis. With `--full`: ten minutes of a real
gateway.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

import aiohttp
import pytest

from tests.faults.gateway import Gateway
from tests.faults.lines import know_key
from tests.money.admissions import admit
from tests.money.records import HandClock, make_principal
from tests.shows.accounts import IS_FULL
from tollkeeper.contracts.money import Limit, Period, RuleScope, ScopeKind, Unit
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import RateLimited
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.money.admission import Admission

WORKERS: Final = 4
AMOUNT: Final = 100
BURST: Final = 10
WINDOW_SECONDS: Final = 60.0
RUN_SECONDS: Final = 600.0
# Three times what is allowed, so that the limit is what decides.
CALLS_A_SECOND: Final = 5.0
_SEEDS: Final = range(20 if IS_FULL else 1)
_START_SECONDS: Final = 1_790_000_000.0


def most_in_a_window(moments: Sequence[float]) -> int:
    """The fullest 60 seconds of any alignment: one that begins with a call is as full as any."""
    ordered = sorted(moments)
    end, most = 0, 0
    for begin, moment in enumerate(ordered):
        while end < len(ordered) and ordered[end] < moment + WINDOW_SECONDS:
            end += 1
        most = max(most, end - begin)
    return most


def arrivals(seed: int) -> list[float]:
    """An open loop: whoever comes does not wait for who came before. Now and then thirty at once, after a while of quiet."""
    dice = random.Random(seed)
    moments, now = [], 0.0
    while now < RUN_SECONDS:
        now += dice.expovariate(CALLS_A_SECOND)
        if dice.random() < 0.0015:
            now += WINDOW_SECONDS / 5
            moments += [now] * 30
        moments.append(now)
    return moments


def limited() -> Principal:
    principal = make_principal()
    scope = RuleScope(ScopeKind.KEY, principal.key_id.hex)
    return replace(principal, limits=(Limit(uuid7(), scope, Unit.REQUESTS, AMOUNT, Period.MINUTE, BURST),))


@dataclass
class Worker:
    admission: Admission
    clock: HandClock


@pytest.fixture
async def workers(valkey_url: str) -> AsyncIterator[list[Worker]]:
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(WORKERS):
            link = RedisLink(valkey_url, SystemClock(), connect_seconds=5.0, operation_seconds=5.0)
            await link.start()
            stack.push_async_callback(link.close)
            clock = HandClock(_START_SECONDS)
            admission = Admission(link, clock, lambda: WORKERS, worker_id=uuid7())
            await admission.start()
            stack.push_async_callback(admission.close)
            opened.append(Worker(admission, clock))
        yield opened


async def run(
    workers: Sequence[Worker], seed: int, *, redis_jump: Callable[[float], float], worker_jump: Callable[[int], float]
) -> list[float]:
    """The true moments at which calls were admitted; `redis_jump` tells how far its clock is off at a moment."""
    principal, admitted, dice = limited(), [], random.Random(seed)
    for moment in arrivals(seed):
        number = dice.randrange(WORKERS)
        worker = workers[number]
        worker.clock.seconds = _START_SECONDS + moment + worker_jump(number)
        worker.admission.pump.script_now_us = round((_START_SECONDS + moment + redis_jump(moment)) * 1_000_000)
        try:
            await admit(worker.admission, principal)
        except RateLimited:
            continue
        admitted.append(moment)
    return admitted


@pytest.mark.parametrize("seed", _SEEDS)
async def test_no_minute_of_any_alignment_admits_more_than_amount_and_burst(workers: list[Worker], seed: int) -> None:
    admitted = await run(workers, seed, redis_jump=lambda _: 0.0, worker_jump=lambda _: 0.0)

    assert most_in_a_window(admitted) <= AMOUNT + BURST
    # Nothing that may pass is refused: in the busy minutes all of it is used.
    assert len(admitted) >= 0.8 * AMOUNT * RUN_SECONDS / WINDOW_SECONDS
    jumped = await run(
        workers, seed, redis_jump=lambda _: 0.0, worker_jump=lambda number: (-86_400.0, 3_600.0, 0.5, -7.0)[number]
    )
    assert jumped == admitted, "the workers' clocks have a say"


@pytest.mark.parametrize("seed", _SEEDS)
async def test_a_clock_of_redis_that_jumps_back_admits_no_more(workers: list[Worker], seed: int) -> None:
    back = await run(workers, seed, redis_jump=lambda moment: -45.0 if moment > 200 else 0.0, worker_jump=lambda _: 0.0)
    assert most_in_a_window(back) <= AMOUNT + BURST


@pytest.mark.parametrize("seed", _SEEDS)
async def test_a_clock_of_redis_that_jumps_ahead_admits_one_burst_at_most(workers: list[Worker], seed: int) -> None:
    ahead = await run(
        workers, seed, redis_jump=lambda moment: 3_600.0 if moment > 300 else 0.0, worker_jump=lambda _: 0.0
    )
    assert most_in_a_window(ahead) <= AMOUNT + 2 * BURST


@pytest.mark.fault
@pytest.mark.skipif(not IS_FULL, reason="ten minutes on the clock of the machine: ./tollkeeper test --full")
async def test_a_real_gateway_keeps_every_minute(new_gateway: Callable[..., Gateway]) -> None:
    gateway = new_gateway(workers=WORKERS)
    made = await asyncio.to_thread(gateway.new_key)
    limit = {
        "name": "a minute", "scope": {"kind": "key", "id": made["id"]}, "unit": "requests",
        "amount": AMOUNT, "period": "minute", "burst": BURST,
    }  # fmt: skip
    await asyncio.to_thread(gateway.ask, "POST", "/api/v1/limits", limit)
    await know_key(gateway, made["key"])
    begun: list[float] = []
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    headers = {"authorization": f"Bearer {made['key']}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def call() -> None:
            document = {"model": "up-ok", "messages": [{"role": "user", "content": "x"}]}
            async with session.post(f"{gateway.origin}/v1/chat/completions", json=document) as answer:
                # Admitted between its beginning and now; counted at the end, so that a late answer is no early call.
                if answer.status == 200:
                    begun.append(time.monotonic())
                else:
                    assert answer.status == 429, await answer.text()

        dice, tasks, started = random.Random(0), [], time.monotonic()
        while time.monotonic() < started + RUN_SECONDS:
            tasks.append(asyncio.create_task(call()))
            await asyncio.sleep(dice.expovariate(CALLS_A_SECOND))
        await asyncio.gather(*tasks)
    assert most_in_a_window(begun) <= AMOUNT + BURST
    assert len(begun) >= 0.95 * AMOUNT * RUN_SECONDS / WINDOW_SECONDS
