"""The line with futures and one timer to it: where a call gets its slot, waits for one, or learns when to come back.

While nobody waits there is no task, no timer and no look at the clock: a call that runs at once costs a few additions.
"""

import asyncio
from typing import Any, Final
from uuid import UUID

from tollkeeper.contracts.catalog import ProviderConfig
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import Overloaded
from tollkeeper.gateway.pressure.drain_rate import DrainRate
from tollkeeper.gateway.pressure.entry import NEW, RUNNING, WAITING, Entry, Lane, Priority
from tollkeeper.gateway.pressure.line import Line
from tollkeeper.gateway.pressure.metrics import QueueMetrics

OPTION: Final = "max_concurrency"
_LEAST_RETRY_SECONDS: Final = 0.1
_MOST_RETRY_SECONDS: Final = 60.0
_LEAST_TIMER_SECONDS: Final = 0.001


class Slot(Entry):
    """What a running call holds. Called as a finisher, it gives the slot back."""

    __slots__ = ("_slots", "granted", "refused_because")

    # Of one that waits.
    granted: asyncio.Future[None]
    refused_because: str

    def __init__(self, slots: "Slots", tenant_id: UUID, lane: Lane | None, priority: Priority) -> None:
        self.tenant_id = tenant_id
        self.lane = lane
        self.priority = priority
        self.place = NEW
        self._slots = slots

    def __call__(self, _outcome: object) -> None:
        self._slots.end(self)

    def enter(self, config: ProviderConfig) -> bool:
        """Whether its provider has room for one more attempt of this call; then the call counts there from now on."""
        return self._slots.move(self, config)


class Slots:
    """One per worker. `workers` share what a provider is configured to take."""

    def __init__(
        self,
        clock: Clock,
        metrics: QueueMetrics,
        *,
        most_running: int,
        most_waiting: int,
        longest_seconds: float,
        workers: int = 1,
    ) -> None:
        self._clock = clock.monotonic
        self._metrics = metrics
        self._line = Line(most_running, most_waiting)
        self._longest_seconds = longest_seconds
        self._workers = workers
        # Of the gateway as a whole, while that is what calls wait for.
        self._rate = DrainRate()
        self._is_full = False
        self._lanes: dict[str, Lane] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> int:
        return self._line.running

    @property
    def waiting(self) -> int:
        return self._line.waiting

    def find(self, tenant_id: UUID, config: ProviderConfig, priority: Priority) -> Slot | None:
        """A slot that can be had at once."""
        slot = Slot(self, tenant_id, self._lane(config) if OPTION in config.options else None, priority)
        return slot if self._line.start(slot) else None

    async def wait(self, tenant_id: UUID, config: ProviderConfig, priority: Priority, deadline: float) -> Slot:
        """A slot, once it is this call's turn. Raises `Overloaded` when that will not be, or was not, in time."""
        slot = Slot(self, tenant_id, self._lane(config), priority)
        now = self._clock()
        give_up_at = min(now + self._longest_seconds, deadline)
        line = self._line
        self._begin(slot, now)
        wait_seconds = self._expected(slot, now)
        if wait_seconds is not None and now + wait_seconds > give_up_at:
            raise self._refusal(slot, "too_long")
        granted = slot.granted = asyncio.get_running_loop().create_future()
        slot.refused_because = ""
        victim = line.wait(slot, now, give_up_at)
        if victim is slot:
            raise self._refusal(slot, "full")
        if victim is not None:
            self._wake_refused(victim, "displaced")
        self._serve()
        try:
            await granted
        except asyncio.CancelledError:
            # A caller that left may have been given its slot in the same turn of the loop.
            self._forget(slot)
            raise
        if slot.refused_because:
            raise self._refusal(slot, slot.refused_because)
        self._metrics.served(self._clock() - now)
        return slot

    def move(self, slot: Slot, config: ProviderConfig) -> bool:
        lane = self._lane(config) if OPTION in config.options else None
        is_there = self._line.move(slot, lane)
        if self._line.waiting:
            self._serve()
        return is_there

    def end(self, slot: Slot) -> None:
        self._line.end(slot)
        if self._line.waiting:
            self._serve()

    def _forget(self, slot: Slot) -> None:
        """Its caller waits no longer."""
        if slot.place is RUNNING:
            self.end(slot)
        elif slot.place is WAITING:
            self._line.leave(slot)
            self._metrics.turned_away("caller_gone")
            self._note()

    def _serve(self) -> None:
        """Let run whoever can, and see to it that the others are told in time."""
        line = self._line
        while (entry := line.next_up()) is not None:
            _wake(entry)
        if line.running < line.most_running:
            self._is_full = False
        self._note()

    def _note(self) -> None:
        """The line has changed: its length is told, and the timer goes off when the next wait is over."""
        self._metrics.length(self._line.waiting)
        end = self._line.next_end()
        if end is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + max(end - self._clock(), _LEAST_TIMER_SECONDS)
        if self._timer is not None:
            if self._timer.when() <= when:
                return  # It looks, finds nothing to do and is set again.
            self._timer.cancel()
        self._timer = loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        for entry in self._line.expired(self._clock()):
            self._wake_refused(entry, "waited_too_long")
        self._note()

    def _wake_refused(self, entry: Entry, because: str) -> None:
        assert isinstance(entry, Slot)
        entry.refused_because = because
        _wake(entry)

    def _lane(self, config: ProviderConfig) -> Lane | None:
        configured = _bound(config.options.get(OPTION))
        if configured is None:
            return None
        most = max(1, configured // self._workers)
        lane = self._lanes.get(config.name)
        if lane is None:
            lane = self._lanes[config.name] = Lane(config.name, most)
        lane.most = most
        return lane

    def _begin(self, slot: Slot, now: float) -> None:
        """The first one waits: from here on it is measured how fast calls end there."""
        line, lane = self._line, slot.lane
        if lane is not None and not lane.waiting:
            lane.rate.begin(now, lane.ended)
        if line.running >= line.most_running and not (self._is_full and line.waiting):
            self._is_full = True
            self._rate.begin(now, line.ended)

    def _drain(self, slot: Slot) -> tuple[DrainRate, int]:
        """Of what it waits for: its provider's room, or the gateway's."""
        lane = slot.lane
        return (self._rate, self._line.ended) if lane is None or lane.has_room else (lane.rate, lane.ended)

    def _expected(self, slot: Slot, now: float) -> float | None:
        drain, ended = self._drain(slot)
        rate = drain.measured(now, ended)
        return None if rate is None else (self._line.ahead_of(slot) + 1) / rate

    def _refusal(self, slot: Slot, because: str) -> Overloaded:
        """When to come back: once those that wait now are served, at the rate at which calls have ended lately."""
        self._metrics.turned_away(because)
        drain, ended = self._drain(slot)
        rate = drain.measured(self._clock(), ended) or drain.last
        seconds = self._longest_seconds if rate is None else (self._line.ahead_of(slot) + 1) / rate
        lane = slot.lane
        where = "The gateway" if lane is None or lane.has_room else f"The provider '{lane.name}'"
        return Overloaded(
            f"{where} serves as many calls as it can at the moment. Try again after the time in 'retry-after'.",
            retry_after_seconds=min(max(seconds, _LEAST_RETRY_SECONDS), _MOST_RETRY_SECONDS),
            should_retry=True,
        )


def _wake(entry: Entry) -> None:
    assert isinstance(entry, Slot)
    if not entry.granted.done():
        entry.granted.set_result(None)


def _bound(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
