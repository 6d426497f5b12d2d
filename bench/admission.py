"""What money costs a call: admission, settlement and acknowledgement, against a real Valkey on the other core.

`python -m bench.admission` prints JSON. `busy_us` is CPU a call with 32 in flight, `paced_us` at 1,000 calls a second, both
under a request rate and a hard budget, less what the loop around them costs; the times are what a call waits for `admit`
then, and with nobody else there (`idle`). `journal_us`: the intent and the settlement of a call, on disk.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import uvloop

from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.money import Budget, Limit, Period, RuleScope, ScopeKind, Spend, Unit, Window, WindowKind
from tollkeeper.contracts.principal import Environment, Principal
from tollkeeper.contracts.usage import CallStatus, Intent, Settlement
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.embedded import EmbeddedValkey
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.money.admission import Admission
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.money.journal_format import pack_intent
from tollkeeper.gateway.money.terms import Asked, gen_key

CALLS: Final = 20_000
PACED_SECONDS: Final = 5.0
PACED_RATE: Final = 1_000
IN_FLIGHT: Final = 32
_ASKED: Final = Asked("gpt-4o-mini", "chat/completions", "openai")
_APPRAISAL: Final = Appraisal(50, 400, 1_000, 100)


class Desk:
    """Calls as the stages make them, without what is between."""

    def __init__(self, admission: Admission, principal: Principal) -> None:
        self._admission = admission
        self._principal = principal
        self._charged = 0
        self.waits: list[float] = []

    async def call(self) -> None:
        admission = self._admission
        terms = admission.terms(self._principal, _ASKED)
        intent = _intent(self._principal)
        intent.budgets = tuple(ref for one in terms for ref in one.refs)
        begun = time.perf_counter()
        admitted = await admission.admit(
            terms, intent.request_id, _APPRAISAL, is_cuttable=True, payload=pack_intent(intent)
        )
        self.waits.append(time.perf_counter() - begun)
        hold = admitted.hold
        assert hold is not None
        admission.settle(hold, 70, rows=1, input_tokens=50, output_tokens=100)
        self._charged += 70
        # In the product a thousand rows are acknowledged at once.
        spends = [Spend(hold.tenant_id, hold.refs[0], self._charged, self._charged // 70)]
        admission.acknowledge([_settlement(intent)], spends if self._charged % 70_000 == 0 else [])

    async def nothing(self) -> None:
        """What is not the admission's: the ids and values of a call."""
        self._admission.terms(self._principal, _ASKED)
        intent = _intent(self._principal)
        pack_intent(intent)
        _settlement(intent)
        await asyncio.sleep(0)


async def measure(url: str) -> dict[str, float]:
    link = RedisLink(url, SystemClock(), operation_seconds=2.0)
    await link.start()
    admission = Admission(link, SystemClock(), lambda: 1, worker_id=uuid7())
    await admission.start()
    desk = Desk(admission, await _principal(link))
    try:
        await _together(desk.call, 2_000)
        base = await _cpu_us(_together(desk.nothing, CALLS), CALLS)
        busy = await _cpu_us(_together(desk.call, CALLS), CALLS)
        idle_base = await _cpu_us(_paced(desk.nothing), int(PACED_RATE * PACED_SECONDS))
        desk.waits.clear()
        paced = await _cpu_us(_paced(desk.call), int(PACED_RATE * PACED_SECONDS))
        paced_waits, desk.waits = sorted(desk.waits), []
        for _ in range(500):
            await desk.call()
        idle_waits = sorted(desk.waits)
    finally:
        await admission.close()
        await link.close()
    return {
        "busy_us": round(busy - base, 1),
        "paced_us": round(paced - idle_base, 1),
        "paced_p50_ms": _at(paced_waits, 0.5),
        "paced_p99_ms": _at(paced_waits, 0.99),
        "idle_p50_ms": _at(idle_waits, 0.5),
        "idle_p99_ms": _at(idle_waits, 0.99),
        "journal_us": _journal_us(),
    }


async def _together(call: Callable[[], Awaitable[None]], count: int) -> None:
    async def work() -> None:
        for _ in range(count // IN_FLIGHT):
            await call()

    await asyncio.gather(*[work() for _ in range(IN_FLIGHT)])


async def _paced(call: Callable[[], Awaitable[None]]) -> None:
    """An open loop with exponential gaps."""
    loop, dice = asyncio.get_running_loop(), random.Random(1)
    due = loop.time()
    tasks: set[asyncio.Future[None]] = set()
    for _ in range(int(PACED_RATE * PACED_SECONDS)):
        due += dice.expovariate(PACED_RATE)
        if (pause := due - loop.time()) > 0:
            await asyncio.sleep(pause)
        task = asyncio.ensure_future(call())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


async def _cpu_us(work: Awaitable[None], calls: int) -> float:
    begun = time.process_time()
    await work
    return (time.process_time() - begun) / calls * 1e6


def _journal_us() -> float:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), host="bench", clock=SystemClock(), max_bytes=1 << 30, memory_settlements=10)
        principal = _anybody()
        entries = [_settlement(_intent(principal)) for _ in range(CALLS)]
        begun = time.process_time()
        for entry in entries:
            journal.intent(entry.intent)
            journal.settle(entry)
        spent = time.process_time() - begun
        journal.close()
    return round(spent / CALLS * 1e6, 1)


def _at(waits: list[float], share: float) -> float:
    return round(waits[int(len(waits) * share)] * 1000, 3)


def _anybody() -> Principal:
    return Principal(
        tenant_id=uuid7(), key_id=uuid7(), user_id=uuid7(), environment=Environment.LIVE, permissions=frozenset()
    )


async def _principal(link: RedisLink) -> Principal:
    """Under a rate and a budget that are never reached, whose counters are trusted."""
    principal = _anybody()
    scope = RuleScope(ScopeKind.KEY, principal.key_id.hex)
    limit = Limit(uuid7(), scope, Unit.REQUESTS, 600_000_000, Period.MINUTE)
    budget = Budget(uuid7(), scope, 9_000_000_000_000_000, Window(WindowKind.TOTAL), int(time.time()))
    generation = ("r", link.run_id or "", "e", "1", "s", "r", "t", "0")
    await link.call("HSET", gen_key(principal.tenant_id), *generation)
    return replace(principal, limits=(limit,), budgets=(budget,))


def _intent(principal: Principal) -> Intent:
    return Intent(
        request_id=uuid7(),
        attempt=1,
        tenant_id=principal.tenant_id,
        key_id=principal.key_id,
        user_id=principal.user_id,
        operation="chat",
        model="gpt-4o-mini",
        provider="openai",
        upstream_model="gpt-4o-mini-2024-07-18",
        estimated_input_tokens=50,
        price_version=None,
        estimated_cost_nano=7_500,
    )


def _settlement(intent: Intent) -> Settlement:
    usage = Usage(input=50, output=100)
    return Settlement(intent, CallStatus.OK, usage, cost_nano=67_500, charge_nano=67_500, latency_ms=240)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server-core", type=int, default=None, help="where the server of the counters runs")
    arguments = parser.parse_args()
    # As the worker has it.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    with tempfile.TemporaryDirectory(prefix="tollkeeper-bench-") as folder, EmbeddedValkey(Path(folder)) as server:
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            other = cores[1] if arguments.server_core is None else arguments.server_core
            os.sched_setaffinity(server.endpoint.pid, {other})
            os.sched_setaffinity(0, {cores[0]})
        print(json.dumps(uvloop.run(measure(server.endpoint.url))))


if __name__ == "__main__":
    _main()
