"""What a worker has put aside of hard budgets for the time that Redis is gone (RULING 5).

Of every hard counter in use 2 % of what is left by the number of workers, at most what passed here in five seconds, and
nothing where less than 64 of the dearest calls are left. It stands in Redis as held, so nobody else spends it. What is
taken from it becomes the call's own record when Redis is back; only then does the allotment shrink by it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from tollkeeper.core.clock import Clock
from tollkeeper.gateway.money.counter_script import MAX_NAMED, CounterScript, Wish, allotment_field
from tollkeeper.gateway.money.terms import PlaceKind, Terms

# Traffic of so many seconds is put aside; a counter nobody used for so many gives its allotment back.
TRAFFIC_SECONDS: Final = 5
Counter = tuple[UUID, str]


@dataclass(slots=True, eq=False)
class Allotment:
    """`left` may be taken here; `taken` was, by calls that Redis has not been told of. Both together stand in Redis."""

    space: UUID
    ref: str
    limit: int
    worst: int = 0
    left: int = 0
    taken: int = 0
    # What Redis would grant next time.
    may: int = 0
    sequence: int = 0
    passed: deque[int] = field(default_factory=lambda: deque(maxlen=TRAFFIC_SECONDS))

    def wish(self) -> Wish:
        """Never less than may still be taken here, so that no answer on its way can make it more than is held."""
        want = sum(self.passed)
        self.left = min(self.left, want, self.may)
        self.sequence += 1
        return Wish(self.ref, self.left + self.taken, want, self.limit, self.worst, self.sequence)

    def granted(self, wish: Wish, amount: int, may: int) -> None:
        self.may = may
        self.left = max(0, self.left + amount - wish.floor)


@dataclass(slots=True)
class _Passed:
    nano: int = 0
    worst: int = 0


class Allotments:
    """`note` and `take` never wait. `refresh` is called each second."""

    def __init__(
        self, script: CounterScript, clock: Clock, live_workers: Callable[[], int], *, worker_id: UUID
    ) -> None:
        self._script = script
        self._clock = clock
        self._live_workers = live_workers
        self._worker_id = worker_id
        self._passed: dict[Terms, _Passed] = {}
        self._allotments: dict[Counter, Allotment] = {}

    def note(self, terms: Terms, nano: int) -> None:
        """A call was admitted; called for each, so it only adds up."""
        passed = self._passed.get(terms)
        if passed is None:
            passed = self._passed[terms] = _Passed()
        passed.nano += nano
        passed.worst = max(passed.worst, nano)

    def take(self, space: UUID, refs: Sequence[str], nano: int) -> bool:
        """All of it from each counter, or nothing. The call's record must be told to Redis before `pushed`."""
        found = [self._allotments.get((space, ref)) for ref in refs]
        if not refs or any(one is None or one.left < nano for one in found):
            return False
        for one in found:
            assert one is not None
            one.left -= nano
            one.taken += nano
        return True

    def left(self) -> int:
        return sum(one.left for one in self._allotments.values())

    def knows(self, field_name: str) -> bool:
        return any(allotment_field(self._worker_id, one.ref) == field_name for one in self._allotments.values())

    def counters(self) -> list[Counter]:
        """Those in use here."""
        return list(self._allotments)

    def spaces(self) -> set[UUID]:
        return {space for space, _ in self._allotments}

    async def refresh(self) -> None:
        """Raises `RedisUnavailable`; then what is left here may be taken."""
        self._add_up()
        for space in self.spaces():
            entries = [one for one in self._allotments.values() if one.space == space]
            for start in range(0, len(entries), MAX_NAMED):
                await self._refresh_some(space, entries[start : start + MAX_NAMED])

    async def give_back(self) -> None:
        """At the end of a worker's life: nothing more is taken."""
        for one in self._allotments.values():
            one.left = 0
            one.passed.clear()
        self._passed.clear()
        await self.refresh()

    def taken_of(self, space: UUID) -> dict[str, int]:
        """What was taken and not told yet; hand it to `pushed` once it is."""
        return {one.ref: one.taken for one in self._of(space) if one.taken}

    def pushed(self, space: UUID, told: dict[str, int]) -> None:
        """The records of calls that took so much are in Redis, and the ledger's figures of what was shipped meanwhile."""
        for ref, nano in told.items():
            one = self._allotments.get((space, ref))
            if one is not None:
                one.taken -= nano

    async def keep(self, space: UUID, told: dict[str, int]) -> bool:
        """After Redis lost everything: write what may still be taken, `told` aside. False without an epoch."""
        now_ms = int(self._clock.unix() * 1000)
        entries = []
        for one in self._of(space):
            amount = one.left + one.taken - told.get(one.ref, 0)
            one.sequence += 1
            name = allotment_field(self._worker_id, one.ref)
            value = f"{amount} l {one.sequence} {self._worker_id.hex} {now_ms} {one.ref} "
            entries.append((one.ref, name, value))
        for start in range(0, len(entries), MAX_NAMED):
            if not await self._script.keep(space, entries[start : start + MAX_NAMED]):
                return False
        return True

    def _of(self, space: UUID) -> Iterator[Allotment]:
        return (one for one in self._allotments.values() if one.space == space)

    def _add_up(self) -> None:
        """What passed since the last look becomes one more second of traffic."""
        for one in self._allotments.values():
            one.passed.append(0)
        for terms, passed in self._passed.items():
            for place in terms.budgets:
                if place.kind != PlaceKind.HARD:
                    continue
                counter = (terms.space, place.ref)
                known = self._allotments.get(counter)
                if known is None:
                    known = self._allotments[counter] = Allotment(terms.space, place.ref, place.one)
                    known.passed.append(0)
                known.limit = place.one
                known.worst = max(known.worst, passed.worst)
                known.passed[-1] += passed.nano
        self._passed.clear()

    async def _refresh_some(self, space: UUID, entries: Sequence[Allotment]) -> None:
        wishes = [one.wish() for one in entries]
        told = await self._script.allot(space, self._worker_id, self._live_workers(), wishes)
        for one, wish, (amount, may) in zip(entries, wishes, told, strict=True):
            if amount < 0:
                # Not trusted, or not known: what is held here stays, until a rebuild tells of it or a call asks.
                continue
            one.granted(wish, amount, may)
            if not (amount or one.left or one.taken or any(one.passed)):
                del self._allotments[space, one.ref]
