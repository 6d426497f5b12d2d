"""Slots with real futures: who waits is woken, who leaves is forgotten, and nothing is left running."""

import asyncio
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from tests.gateway.serving import ManualClock, provider
from tollkeeper.contracts.catalog import ProviderConfig
from tollkeeper.core.errors import Overloaded
from tollkeeper.gateway.pressure.entry import Priority
from tollkeeper.gateway.pressure.metrics import QueueMetrics
from tollkeeper.gateway.pressure.slots import Slot, Slots

ONE, OTHER = UUID(int=1), UUID(int=2)
FREE = provider("free", "http://127.0.0.1:1/v1")
NARROW = provider("narrow", "http://127.0.0.1:1/v1", options={"max_concurrency": 2})


class Line:
    """Slots on a clock that only the test moves."""

    def __init__(self, *, running: int = 2, waiting: int = 4, seconds: float = 5.0, workers: int = 1) -> None:
        self.clock = ManualClock()
        self.registry = CollectorRegistry()
        self.slots = Slots(
            self.clock,
            QueueMetrics(self.registry),
            most_running=running,
            most_waiting=waiting,
            longest_seconds=seconds,
            workers=workers,
        )

    def find(self, tenant: UUID = ONE, config: ProviderConfig = FREE) -> Slot | None:
        return self.slots.find(tenant, config, Priority.NORMAL)

    def taken(self, config: ProviderConfig = FREE) -> Slot:
        slot = self.find(config=config)
        assert slot is not None
        return slot

    def join(
        self,
        tenant: UUID = ONE,
        *,
        config: ProviderConfig = FREE,
        priority: Priority = Priority.NORMAL,
        seconds: float = 1_000.0,
    ) -> "asyncio.Task[Slot]":
        deadline = self.clock.monotonic() + seconds
        return asyncio.ensure_future(self.slots.wait(tenant, config, priority, deadline))

    def refusals(self, reason: str) -> float:
        return self.registry.get_sample_value("tollkeeper_queue_refusals_total", {"reason": reason}) or 0.0


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_waits_gets_the_slot_of_who_ends() -> None:
    line = Line()
    first, second = line.taken(), line.taken()
    assert line.find() is None
    waiting = [line.join(), line.join()]
    await turns()
    assert (line.slots.running, line.slots.waiting) == (2, 2)
    first(None)
    await turns()
    assert [task.done() for task in waiting] == [True, False]
    second(None)
    slots = await asyncio.gather(*waiting)
    for slot in slots:
        slot(None)
        slot(None)
    assert (line.slots.running, line.slots.waiting) == (0, 0)
    assert line.slots._timer is None


async def test_caller_that_leaves_the_line_leaves_it_at_once() -> None:
    line = Line(running=1)
    first = line.taken()
    leaving, staying = line.join(), line.join()
    await turns()
    leaving.cancel()
    await turns()
    assert line.slots.waiting == 1
    assert line.refusals("caller_gone") == 1
    first(None)
    (await staying)(None)
    assert line.slots.running == 0


async def test_caller_that_leaves_as_it_is_served_gives_its_slot_on() -> None:
    line = Line(running=1)
    first = line.taken()
    leaving, next_one = line.join(), line.join()
    await turns()
    first(None)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    (await next_one)(None)
    assert (line.slots.running, line.slots.waiting) == (0, 0)


@pytest.mark.parametrize(("own_seconds", "after"), [(1_000.0, 0.2), (0.05, 0.05)])
async def test_wait_is_bounded_by_the_setting_and_by_the_calls_own_deadline(own_seconds: float, after: float) -> None:
    line = Line(running=1, seconds=0.2)
    first = line.taken()
    began = line.clock.monotonic()
    with pytest.raises(Overloaded) as refused:
        await line.join(seconds=own_seconds)
    assert line.clock.monotonic() - began >= after
    assert refused.value.retry_after_seconds == pytest.approx(0.2)
    assert line.refusals("waited_too_long") == 1
    first(None)
    assert (line.slots.running, line.slots.waiting, line.slots._timer) == (0, 0, None)


async def test_full_line_refuses_and_makes_room_for_another_tenant_and_for_higher_priority() -> None:
    line = Line(running=1, waiting=2)
    first = line.taken()
    flood = [line.join(ONE), line.join(ONE)]
    await turns()
    with pytest.raises(Overloaded):
        await line.join(ONE)
    assert line.refusals("full") == 1
    fair = line.join(OTHER)
    await turns()
    with pytest.raises(Overloaded):
        await flood[1]
    urgent = line.join(ONE, priority=Priority.HIGH)
    await turns()
    assert line.refusals("displaced") == 2
    first(None)
    slot = await urgent
    left = flood[0] if fair.done() else fair
    slot(None)
    (await left)(None)
    assert (line.slots.running, line.slots.waiting) == (0, 0)
    await asyncio.gather(*flood, fair, return_exceptions=True)


async def test_retry_after_is_what_the_line_takes_at_the_rate_at_which_calls_end() -> None:
    line = Line(running=1, waiting=1_000, seconds=1_000.0)
    slot = line.taken()
    waiting = [line.join(ONE) for _ in range(60)]
    await turns()
    for task in waiting[:40]:
        line.clock.ahead += 0.5
        slot(None)
        slot = await task
    # Two calls a second end, twenty are waiting: a newcomer's turn would come in about ten seconds.
    with pytest.raises(Overloaded) as refused:
        await line.join(ONE, seconds=3.0)
    assert refused.value.retry_after_seconds == pytest.approx(10.5, rel=0.2)
    assert line.refusals("too_long") == 1
    # Another tenant is served in turns with the flood.
    other = line.join(OTHER, seconds=3.0)
    await turns()
    for task in (waiting[40], other, *waiting[41:]):
        slot(None)
        slot = await task
    slot(None)
    assert (line.slots.running, line.slots.waiting) == (0, 0)


async def test_a_providers_own_bound_holds_back_its_calls_alone() -> None:
    line = Line(running=10)
    first, second = line.taken(NARROW), line.taken(NARROW)
    assert line.find(config=NARROW) is None
    waiting = line.join(config=NARROW)
    await turns()
    elsewhere = line.taken(FREE)
    assert line.slots.waiting == 1
    assert not elsewhere.enter(NARROW)
    assert second.enter(FREE)
    narrow = await waiting
    assert second.enter(FREE)
    assert not second.enter(NARROW)
    for slot in (first, second, elsewhere, narrow):
        slot(None)
    assert line.slots.running == 0
    assert [line.find(config=NARROW) is not None for _ in range(3)] == [True, True, False]


async def test_calls_elsewhere_say_nothing_of_how_fast_a_full_provider_is() -> None:
    line = Line(running=100, waiting=1_000, seconds=1_000.0)
    one = provider("slow", "http://127.0.0.1:1/v1", options={"max_concurrency": 1})
    slot = line.taken(one)
    waiting = [line.join(config=one) for _ in range(30)]
    await turns()
    for task in waiting[:20]:
        for _ in range(50):
            line.taken(FREE)(None)
        line.clock.ahead += 1.0
        slot(None)
        slot = await task
    with pytest.raises(Overloaded) as refused:
        await line.join(config=one, seconds=5.0)
    assert refused.value.retry_after_seconds == pytest.approx(11.0, rel=0.2)
    assert "'slow'" in refused.value.message
    for task in waiting[20:]:
        slot(None)
        slot = await task
    slot(None)
    assert (line.slots.running, line.slots.waiting) == (0, 0)


async def test_workers_share_what_a_provider_takes() -> None:
    line = Line(running=10, workers=3)
    wide = provider("wide", "http://127.0.0.1:1/v1", options={"max_concurrency": 7})
    assert [line.find(config=wide) is not None for _ in range(3)] == [True, True, False]
    single = provider("single", "http://127.0.0.1:1/v1", options={"max_concurrency": 1})
    assert [line.find(config=single) is not None for _ in range(2)] == [True, False]


async def test_raised_bound_holds_from_the_next_call_on() -> None:
    line = Line(running=10)
    slots = [line.taken(NARROW), line.taken(NARROW)]
    waiting = line.join(config=NARROW)
    await turns()
    wider = provider("narrow", "http://127.0.0.1:1/v1", options={"max_concurrency": 5})
    more = line.join(config=wider)
    await turns()
    assert waiting.done()
    assert more.done()
    for slot in (*slots, await waiting, await more):
        slot(None)
    assert line.slots.running == 0
