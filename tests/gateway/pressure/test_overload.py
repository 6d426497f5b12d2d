"""Five times as many calls as can be served, in simulated time: what is served, to whom, and what the others are told."""

import asyncio
import heapq
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from tests.gateway.serving import provider
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import Overloaded
from tollkeeper.gateway.pressure.entry import Priority
from tollkeeper.gateway.pressure.metrics import QueueMetrics
from tollkeeper.gateway.pressure.slots import Slot, Slots

IS_FULL: Final = os.environ.get("TOLLKEEPER_TEST_FULL") == "1"
CONFIG: Final = provider("one", "http://127.0.0.1:1/v1")
FLOOD, SMALL, OTHER = (UUID(int=number) for number in (1, 2, 3))
RUNNING: Final = 20
SERVICE_SECONDS: Final = 0.1
# Calls a second that can be served.
CAPACITY: Final = RUNNING / SERVICE_SECONDS
LONGEST_SECONDS: Final = 0.5
SECONDS: Final = 3.0
_STEP: Final = 0.002


class SteppedClock(SystemClock):
    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at


@dataclass
class Crowd:
    slots: Slots
    clock: SteppedClock
    dice: random.Random
    asked: Counter[UUID] = field(default_factory=Counter)
    served: Counter[UUID] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    ends: list[tuple[float, int, Slot]] = field(default_factory=list)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def arrive(self, tenant: UUID) -> None:
        self.asked[tenant] += 1
        slot = self.slots.find(tenant, CONFIG, Priority.NORMAL)
        if slot is not None:
            self._run(slot, 0.0)
            return
        task = asyncio.ensure_future(self._wait(tenant))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _wait(self, tenant: UUID) -> None:
        came = self.clock.at
        try:
            slot = await self.slots.wait(tenant, CONFIG, Priority.NORMAL, came + 60.0)
        except Overloaded as refused:
            self.told.append(refused.retry_after_seconds or 0.0)
        else:
            self._run(slot, self.clock.at - came)

    def _run(self, slot: Slot, waited: float) -> None:
        self.served[slot.tenant_id] += 1
        self.waits.append(waited)
        length = self.dice.uniform(0.5, 1.5) * SERVICE_SECONDS
        heapq.heappush(self.ends, (self.clock.at + length, self.served.total(), slot))

    async def step(self) -> None:
        self.clock.at += _STEP
        while self.ends and self.ends[0][0] <= self.clock.at:
            heapq.heappop(self.ends)[2](None)
        # In the place of the timer, which goes by the loop's time.
        if self.slots._timer is not None:
            self.slots._timer.cancel()
        self.slots._look()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(5 if IS_FULL else 1))
async def test_at_five_times_the_load_nothing_is_idle_nobody_starves_and_waits_are_short(seed: int) -> None:
    clock, dice = SteppedClock(), random.Random(seed)
    queue = QueueMetrics(CollectorRegistry())
    slots = Slots(clock, queue, most_running=RUNNING, most_waiting=200, longest_seconds=LONGEST_SECONDS)
    crowd = Crowd(slots, clock, dice)
    # One tenant floods; two others want a tenth and a half of what there is.
    rates = {FLOOD: 4.4 * CAPACITY, SMALL: 0.1 * CAPACITY, OTHER: 0.5 * CAPACITY}
    end = clock.at + SECONDS
    while clock.at < end:
        for tenant, rate in rates.items():
            wanted = rate * _STEP
            for _ in range(int(wanted) + (dice.random() < wanted % 1)):
                crowd.arrive(tenant)
        await crowd.step()
    served = crowd.served.copy()
    while crowd.ends or crowd.tasks:
        await crowd.step()
    # Goodput is what it would be without the crowd.
    assert served.total() >= 0.9 * CAPACITY * SECONDS
    # Who asks for less than its share gets it; the flood gets what is left.
    assert served[SMALL] >= 0.9 * crowd.asked[SMALL]
    assert served[OTHER] >= 0.75 * crowd.asked[OTHER]
    assert served[FLOOD] <= 0.5 * CAPACITY * SECONDS
    assert max(crowd.waits) <= LONGEST_SECONDS + 2 * _STEP
    # Everybody else was told when to come back, and the line is never longer than that.
    assert len(crowd.told) == crowd.asked.total() - crowd.served.total()
    assert all(0.1 <= seconds <= 2 * 200 / CAPACITY for seconds in crowd.told[200:])
    assert (slots.running, slots.waiting) == (0, 0)
