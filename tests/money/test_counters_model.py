"""Random workers, calls, deaths, flushes and cuts against a model: a counter is never below the truth, and is it when quiet."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest

from tests.money.conftest import OpenWorker
from tests.money.fleet_of_workers import Hall, Ledger, Worker, refs_of, spender
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.errors import DependencyUnavailable, InsufficientQuota
from tollkeeper.gateway.money.counter_script import worker_key

LIMITS = (2_000, 2_600)
STEPS = 150


class Model:
    """What is true whatever Redis says: the worst of each call that was admitted, until its end says better."""

    def __init__(self, open_worker: OpenWorker, hall: Hall, ledger: Ledger, seed: int) -> None:
        self.random = random.Random(seed)
        self.open_worker = open_worker
        self.hall = hall
        self.ledger = ledger
        self.principal: Principal = spender(*LIMITS)
        self.workers: list[Worker] = []
        self.admitted: dict[UUID, int] = {}
        self.refused = 0
        self.unavailable = 0

    async def one(self) -> Worker:
        if not self.workers:
            self.workers.append(await self.open_worker())
        return self.random.choice(self.workers)

    async def admit(self) -> None:
        await self._admit_at(await self.one())

    async def admit_many(self) -> None:
        await self.one()
        workers = [self.random.choice(self.workers) for _ in range(8)]
        await asyncio.gather(*[self._admit_at(worker) for worker in workers])

    async def admit_during_flush(self) -> None:
        worker = await self.one()
        await asyncio.gather(self.admit_many(), self._flush(worker), self.admit_many())

    async def finish(self) -> None:
        worker = await self.one()
        if worker.open_calls:
            request_id = self.random.choice(list(worker.open_calls))
            charge = self.random.randint(0, self.admitted[request_id])
            worker.finish(request_id, charge)
            self.admitted[request_id] = charge

    async def finish_some(self) -> None:
        for _ in range(4):
            await self.finish()

    async def ship(self) -> None:
        await (await self.one()).ship()

    async def flush(self) -> None:
        await self._flush(await self.one())

    async def cut(self) -> None:
        worker = await self.one()
        worker.link.trip("cut by the test")
        await self._admit_at(worker)

    async def tick(self) -> None:
        for worker in self.workers:
            await _suppressed(worker.counters.tick())

    async def kill(self) -> None:
        """The journal is left to the others."""
        worker = await self.one()
        self.workers.remove(worker)
        await worker.kill()

    async def lose(self) -> None:
        """The journal is gone with its worker, Redis is whole; nobody hears of it for a minute."""
        worker = await self.open_worker(folder=f"lost-{len(self.hall.believed)}-{self.random.random()}")
        for _ in range(3):
            await self._admit_at(worker)
        if worker.open_calls:
            request_id, charge = next(iter(worker.open_calls)), 1
            worker.finish(request_id, charge)
            self.admitted[request_id] = charge
        if not worker.link.is_available:
            self.workers.append(worker)
            return
        await worker.flushed()
        await worker.kill()
        self.hall.believed.discard(worker.id)
        # With Redis flushed before anybody looks, nothing would be left that knows of these calls.
        witness = await self.open_worker()
        await witness.link.call("DEL", worker_key(worker.id))
        await witness.reaper.turn()
        await witness.ship()
        self.workers.append(witness)

    async def join(self) -> None:
        if len(self.workers) < 4:
            self.workers.append(await self.open_worker())

    async def reap(self) -> None:
        await _suppressed((await self.one()).reaper.turn())

    async def outage(self) -> None:
        """PostgreSQL is away for a few steps."""
        self.hall.is_away = self.ledger.is_away = True
        for name in ("admit_many", "finish_some", "ship", "tick", "admit", "reap", "cut", "admit"):
            await getattr(self, name)()
        self.hall.is_away = self.ledger.is_away = False

    def truth(self) -> int:
        return sum(self.admitted.values())

    async def check(self, client: Any) -> None:
        truth = self.truth()
        assert truth <= min(LIMITS)
        prefix = f"tk:{{{self.principal.tenant_id.hex}}}:"
        state, epoch = await client.hmget(prefix + "gen", "s", "e")
        if state != b"r":
            return
        for ref in refs_of(self.principal):
            own, base, held = await client.hmget(f"{prefix}b:{ref}", "e", "b", "h")
            if own == epoch and base is not None:
                assert int(base) + int(held) >= truth, f"{int(base)} + {int(held)} for {truth}"

    async def _admit_at(self, worker: Worker) -> None:
        full = self.random.randint(1, 60)
        try:
            request_id = await worker.call(self.principal, full)
        except InsufficientQuota:
            self.refused += 1
        except DependencyUnavailable:
            self.unavailable += 1
        else:
            self.admitted[request_id] = worker.open_calls[request_id][0].held_nano

    async def _flush(self, worker: Worker) -> None:
        if worker.link.is_available:
            await _suppressed(worker.link.call("FLUSHALL"))


async def _suppressed(work: Awaitable[Any]) -> None:
    with suppress(DependencyUnavailable):
        await work


CHANCES: dict[str, int] = {
    "admit": 10,
    "admit_many": 3,
    "admit_during_flush": 2,
    "finish": 10,
    "finish_some": 5,
    "ship": 6,
    "flush": 1,
    "cut": 2,
    "tick": 6,
    "kill": 1,
    "lose": 1,
    "join": 2,
    "reap": 2,
    "outage": 1,
}


@pytest.mark.parametrize("seed", range(6))
async def test_counters_are_never_below_the_truth_and_equal_it_when_quiet(
    open_worker: OpenWorker, hall: Hall, ledger: Ledger, valkey_client: Any, seed: int
) -> None:
    model = Model(open_worker, hall, ledger, seed)
    names = model.random.choices(list(CHANCES), list(CHANCES.values()), k=STEPS)

    for name in names:
        step: Callable[[], Awaitable[None]] = getattr(model, name)
        await step()
        await model.check(valkey_client)

    last = await open_worker()
    model.workers.append(last)
    # The end of a budget is where it is tight; and after a flush nobody rebuilds what nobody asks for.
    model.refused = 0
    async with asyncio.timeout(20):
        while not model.refused:
            await model.admit_many()
            await model.check(valkey_client)
    for worker in model.workers:
        for request_id in list(worker.open_calls):
            worker.finish(request_id, model.admitted[request_id])
    async with asyncio.timeout(10):
        while not await _is_quiet(model, last, valkey_client):
            await asyncio.sleep(0.05)
    rows = {request_id: charge for (request_id, _), charge in ledger.charges.items()}
    assert rows == model.admitted
    assert model.admitted


async def _is_quiet(model: Model, last: Worker, client: Any) -> bool:
    for worker in model.workers:
        await worker.ship()
        await _suppressed(worker.shipper.adopt())
        await _suppressed(worker.counters.allotments.give_back())
    await _suppressed(last.reaper.turn())
    truth = model.truth()
    prefix = f"tk:{{{model.principal.tenant_id.hex}}}:"
    counters = [await client.hmget(f"{prefix}b:{ref}", "b", "h") for ref in refs_of(model.principal)]
    return counters == [[b"%d" % truth, b"0"]] * len(counters)
