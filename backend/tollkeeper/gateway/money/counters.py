"""Makes the counters in Redis right again, and says what may be admitted while they cannot be asked.

Redis that was flushed, restarted or failed over is not believed. Its counters are built anew: an epoch begins, every
living worker tells what it holds, the journals of dead ones go to the ledger, and then the counters count again; what
the ledger holds is read counter by counter, when one is asked for. One worker at a time rebuilds a space.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from tollkeeper.contracts.ports import Fleet, SpendSource
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.gateway.money.allotment import Allotments
from tollkeeper.gateway.money.counter_script import MAX_NAMED, CounterScript, worker_key
from tollkeeper.gateway.money.hold import Hold, Part
from tollkeeper.gateway.money.terms import Terms

log = structlog.get_logger(__name__)

# How long a caller waits for counters that are being rebuilt; the work goes on without it.
WAIT_SECONDS: Final = 2.0
REBUILD_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.02
# While another worker rebuilds, and after a failure, for so long nobody tries.
PATIENCE_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.25
ASK_AGAIN_SECONDS: Final = 0.75
AT_ONCE: Final = 4
TICK_SECONDS: Final = 1.0
BEAT_SECONDS: Final = 10.0
# Without a beat a worker is taken for dead after this long, and what it holds is settled by others.
LIFE_SECONDS: Final = 60.0
DRIFT_SECONDS: Final = 30.0
_TRIES: Final = 5


class Holdings(Protocol):
    """What this worker holds (`registry`)."""

    def spaces(self) -> Iterable[UUID]: ...

    def holds_of(self, space: UUID) -> Iterator[tuple[Hold, Part]]: ...

    async def push(self, space: UUID) -> bool:
        """Tell Redis of everything held in a space as it is at the moment of the call; False when it was not told."""
        ...


class Mode(StrEnum):
    """How hard budgets are kept at the moment."""

    EXACT = "exact"
    ALLOTMENT = "allotment"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class CountersState:
    """For readiness and metrics. `drift_nano`: what Redis and the ledger differ by, of the counters in use here."""

    mode: Mode
    untrusted: int
    drift_nano: int
    allotted_nano: int


class Counters:
    """`run` is its task; `rebuild`, `init` and `take` are what the admission asks for, `heard` answers the others."""

    def __init__(
        self,
        link: RedisLink,
        spends: SpendSource,
        fleet: Fleet,
        clock: Clock,
        *,
        worker_id: UUID,
        holdings: Holdings,
        adopt: Callable[[], Awaitable[None]],
    ) -> None:
        """`adopt` takes the journals of dead workers of this host to the ledger."""
        self.script = CounterScript(link)
        self.allotments = Allotments(self.script, clock, fleet.live, worker_id=worker_id)
        self._link = link
        self._spends = spends
        self._fleet = fleet
        self._clock = clock
        self._worker_id = worker_id
        self._holdings = holdings
        self._adopt = adopt
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._rebuilding: dict[UUID, asyncio.Task[bool]] = {}
        self._asked: dict[tuple[UUID, tuple[str, ...]], asyncio.Task[bool]] = {}
        # Spaces being told about; True where somebody asked again meanwhile.
        self._telling: dict[UUID, bool] = {}
        # Where it could not be told: somebody may be waiting for it.
        self._owed: set[UUID] = set()
        self._untrusted: dict[UUID, float] = {}
        self._drift_nano = 0
        self._beaten_at: float | None = None
        self._connected_since: float | None = None

    # What the admission asks for

    async def rebuild(self, tenant_id: UUID) -> bool:
        if not self._link.is_available or self._clock.monotonic() < self._untrusted.get(tenant_id, 0.0):
            return False
        task = self._rebuilding.get(tenant_id)
        if task is None:
            task = self._rebuilding[tenant_id] = self._spawn(self._rebuild(tenant_id), f"rebuild-{tenant_id.hex}")
            task.add_done_callback(lambda _: self._rebuilding.pop(tenant_id, None))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await asyncio.shield(task)
        except TimeoutError:
            return False

    def wish(self, tenant_id: UUID) -> None:
        """The same without waiting: nobody was refused, but what is spent is not counted at the moment."""
        if tenant_id not in self._rebuilding and self._clock.monotonic() >= self._untrusted.get(tenant_id, 0.0):
            self._spawn(self.rebuild(tenant_id), f"wish-{tenant_id.hex}")

    async def init(self, tenant_id: UUID, refs: Sequence[str]) -> bool:
        name = (tenant_id, tuple(refs))
        task = self._asked.get(name)
        if task is None:
            task = self._asked[name] = self._spawn(self._init(tenant_id, refs), "counters-init")
            task.add_done_callback(lambda _: self._asked.pop(name, None))
        return await asyncio.shield(task)

    def take(self, tenant_id: UUID, refs: Sequence[str], nano: int) -> bool:
        return self._is_known_to_live() and self.allotments.take(tenant_id, refs, nano)

    def note(self, terms: Terms, nano: int) -> None:
        self.allotments.note(terms, nano)

    # What the others ask for

    def heard(self, tenant_id: UUID) -> None:
        """Tell Redis what this worker holds of a space."""
        if tenant_id in self._telling:
            self._telling[tenant_id] = True
            return
        self._telling[tenant_id] = False
        self._spawn(self._tell(tenant_id), f"counters-tell-{tenant_id.hex}")

    def resync(self) -> None:
        """An announcement may have been missed, or Redis was away."""
        for space in {*self._owed, *self._holdings.spaces(), *self.allotments.spaces()}:
            self.heard(space)

    def connected(self) -> None:
        """Redis is there again; whatever server it is, it is told at once."""
        self._connected_since = self._link.state().since
        self.resync()

    # Its own life

    async def run(self) -> None:
        """Never returns; cancel it, then `finish`."""
        drift_at = self._clock.monotonic() + DRIFT_SECONDS
        while True:
            try:
                await self.tick()
                if self._clock.monotonic() >= drift_at:
                    drift_at = self._clock.monotonic() + DRIFT_SECONDS
                    await self.measure_drift()
            except DependencyUnavailable:
                log.debug("counters_not_reached")
            except Exception:
                # The task's boundary: what was not done now is done in the next turn.
                log.exception("counters_failed")
            await asyncio.sleep(TICK_SECONDS)

    async def tick(self) -> None:
        """Raises `RedisUnavailable`."""
        state = self._link.state()
        if not state.is_available:
            return
        if self._beaten_at is None or self._clock.monotonic() - self._beaten_at >= BEAT_SECONDS:
            await self._beat()
        if state.since != self._connected_since:
            self.connected()
        for space in list(self._owed):
            self.heard(space)
        for space in list(self._untrusted):
            if space not in self._rebuilding:
                await self.rebuild(space)
        await self.allotments.refresh()

    async def finish(self) -> None:
        """Give back what was put aside and take leave, where Redis can be told."""
        try:
            await self.allotments.give_back()
            await self._link.call("DEL", worker_key(self._worker_id))
        except RedisUnavailable:
            log.debug("counters_not_left")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def state(self) -> CountersState:
        left = self.allotments.left()
        if self._link.is_available and not self._untrusted:
            mode = Mode.EXACT
        else:
            mode = Mode.ALLOTMENT if left and self._is_known_to_live() else Mode.REFUSED
        return CountersState(mode, len(self._untrusted), self._drift_nano, left)

    async def close_records(self, space: UUID, fields: Sequence[str], refs: Iterable[str]) -> None:
        """Forget records whose rows are in the ledger, or never will be. Raises `DependencyUnavailable`.

        The counters are told first what the ledger holds: it may have the rows without Redis having heard of them.
        """
        named = list(dict.fromkeys(refs))
        trust = await self.script.look(space)
        spends = [] if not named else await self._spends.read(space, named)
        await self.script.close(space, trust.epoch, spends, fields)

    async def measure_drift(self) -> None:
        """Compare the counters in use here with the ledger, and set right what differs. Raises `DependencyUnavailable`."""
        spaces: dict[UUID, list[str]] = {}
        for space, ref in self._counters_in_use():
            spaces.setdefault(space, []).append(ref)
        drift = 0
        for space, refs in spaces.items():
            for start in range(0, len(refs), MAX_NAMED):
                drift += await self._drift_of(space, refs[start : start + MAX_NAMED])
        self._drift_nano = drift

    def _counters_in_use(self) -> set[tuple[UUID, str]]:
        held = {
            (space, ref)
            for space in self._holdings.spaces()
            for _, part in self._holdings.holds_of(space)
            for ref in part.terms.refs
        }
        return held | set(self.allotments.counters())

    async def _drift_of(self, space: UUID, refs: Sequence[str]) -> int:
        differing = await self._find_differing(space, refs)
        if differing:
            # What was shipped this moment is not told yet.
            await asyncio.sleep(PATIENCE_SECONDS)
            differing = await self._find_differing(space, list(differing))
        if differing:
            log.warning("counters_drifted", tenant_id=str(space), counters=len(differing), nano=sum(differing.values()))
            await self._init(space, list(differing))
        return sum(differing.values())

    async def _find_differing(self, space: UUID, refs: Sequence[str]) -> dict[str, int]:
        # Redis first: the ledger is never behind it.
        counted = await self.script.peek(space, refs)
        spends = await self._spends.read(space, refs)
        return {
            spend.ref: abs(spend.spent_nano - counter.base)
            for spend, counter in zip(spends, counted, strict=True)
            if counter is not None and counter.base is not None and counter.base != spend.spent_nano
        }

    # The rebuild

    async def _rebuild(self, space: UUID) -> bool:
        self._untrusted[space] = 0.0
        try:
            async with asyncio.timeout(REBUILD_SECONDS), self._at_once:
                while not await self._is_rebuilt(space):
                    pass
        except (DependencyUnavailable, TimeoutError) as error:
            self._untrusted[space] = self._clock.monotonic() + PATIENCE_SECONDS
            log.warning("counters_not_rebuilt", tenant_id=str(space), problem=str(error))
            return False
        self._untrusted.pop(space, None)
        return True

    async def _is_rebuilt(self, space: UUID) -> bool:
        """One try: by us, or by whoever is at it."""
        async with self._fleet.rebuilding(space) as is_ours:
            if is_ours:
                return await self._rebuild_now(space)
        until = self._clock.monotonic() + PATIENCE_SECONDS
        while self._clock.monotonic() < until:
            if (await self.script.look(space)).is_ready:
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False

    async def _rebuild_now(self, space: UUID) -> bool:
        """False when Redis lost everything once more meanwhile."""
        began, epoch = await self.script.begin(space)
        if not began:
            return True
        began_at = asked_at = looked_at = self._clock.monotonic()
        awaited = await self._fleet.call_for_counters(space)
        self.heard(space)
        while (told := await self.script.ready(space, epoch, awaited)) is False:
            await asyncio.sleep(POLL_SECONDS)
            now = self._clock.monotonic()
            # One that came since has nothing to tell, and one that went is waited for no longer.
            if now - asked_at >= ASK_AGAIN_SECONDS:
                asked_at = looked_at = now
                awaited &= await self._fleet.call_for_counters(space)
                self.heard(space)
            elif now - looked_at >= LOOK_SECONDS:
                looked_at = now
                awaited &= await self._fleet.live_workers()
        if told:
            seconds = round(self._clock.monotonic() - began_at, 3)
            log.info("counters_rebuilt", tenant_id=str(space), workers=len(awaited), seconds=seconds)
        return bool(told)

    async def _tell(self, space: UUID) -> None:
        try:
            while True:
                self._telling[space] = False
                if await self._tell_all(space):
                    self._owed.discard(space)
                else:
                    self._owed.add(space)
                if not self._telling[space]:
                    return
        except DependencyUnavailable:
            # We look again when Redis is back, and in the next turn.
            self._owed.add(space)
            log.debug("counters_not_told", tenant_id=str(space))
        finally:
            del self._telling[space]

    async def _tell_all(self, space: UUID) -> bool:
        """Everything held, within one epoch: what was told to the one before is gone. True when nothing is owed."""
        for _ in range(_TRIES):
            trust = await self.script.look(space)
            if not trust.is_live:
                # Nobody counts there; who begins to will ask.
                return True
            if not trust.is_ready:
                await self._adopt()
            # No await between these two: what was taken is held, or already in the ledger.
            taken = self.allotments.taken_of(space)
            if not await self._holdings.push(space):
                continue
            if taken and not await self._init(space, list(taken)):
                taken = {}
            is_kept = await self.allotments.keep(space, taken)
            if is_kept and await self.script.answer(space, trust.epoch, self._worker_id):
                self.allotments.pushed(space, taken)
                return True
        return False

    async def _init(self, space: UUID, refs: Sequence[str]) -> bool:
        try:
            trust = await self.script.look(space)
            for start in range(0, len(refs), MAX_NAMED):
                spends = await self._spends.read(space, refs[start : start + MAX_NAMED])
                if not await self.script.close(space, trust.epoch, spends):
                    return False
        except DependencyUnavailable:
            return False
        return True

    async def _beat(self) -> None:
        sent_at = self._clock.monotonic()
        await self._link.call("SET", worker_key(self._worker_id), 1, "PX", int(LIFE_SECONDS * 1000))
        self._beaten_at = sent_at

    def _is_known_to_live(self) -> bool:
        """Otherwise others may be settling what we hold: nothing may be taken of it."""
        if self._fleet.is_counted():
            return True
        return self._beaten_at is not None and self._clock.monotonic() - self._beaten_at < LIFE_SECONDS - BEAT_SECONDS

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
