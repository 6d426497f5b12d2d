"""Settles what dead workers held: money never comes back by time alone, but by a row in the ledger.

A worker lives while its key in Redis or its row in PostgreSQL is fresh. Of one that is gone for sure each record becomes
an `interrupted` row through this worker's journal, and is forgotten when the ledger has it; a true settlement that turns
up later corrects the row. One worker at a time looks, and also clears away what nobody needs any more.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

import orjson
import structlog

from tollkeeper.contracts.money import PLATFORM
from tollkeeper.contracts.ports import Fleet
from tollkeeper.contracts.usage import Intent, Settlement
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.money.counter_script import MAX_NAMED, worker_key
from tollkeeper.gateway.money.counters import Counters, Holdings
from tollkeeper.gateway.money.journal_format import unpack_intent
from tollkeeper.gateway.money.journal_replay import interruption
from tollkeeper.gateway.money.terms import OF_PLATFORM, holds_key

log = structlog.get_logger(__name__)

TURN_SECONDS: Final = 15.0
# How long what only Redis knows stays there alone.
LOST_SECONDS: Final = 3.0
# Shorter than a turn, so that the work goes round.
TURN_LOCK_MS: Final = 10_000
# A tombstone only has to outlive a call that is still on its way.
TOMBSTONE_SECONDS: Final = 120.0
TURN_KEY: Final = b"tk:reaper"
SWEEP_MS: Final = 3_600_000
SWEEP_KEY: Final = b"tk:sweeper"


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a space's holds. `state`: `h` open, `s` settled, `l` an allotment, `x` a tombstone."""

    space: UUID
    field: str
    amount_nano: int
    state: str
    sequence: int
    owner: UUID
    since_ms: int
    refs: tuple[str, ...]
    payload: bytes

    @property
    def hold_id(self) -> UUID | None:
        """That of the call, of its first hold (`Intent.hold_id`)."""
        return None if self.state == "l" else UUID(hex=self.field)

    def intent(self) -> Intent | None:
        try:
            return unpack_intent(self.payload) if self.payload else None
        except (ValueError, orjson.JSONDecodeError):
            return None


def read_record(space: UUID, field: bytes, value: bytes) -> Record | None:
    """None for what is not written as `admission.lua` writes it."""
    try:
        amount, state, sequence, owner, since, refs, payload = value.split(b" ", 6)
        named = () if refs == b"-" else tuple(refs.decode().split(","))
        return Record(
            space,
            field.decode(),
            int(amount),
            state.decode(),
            int(sequence),
            UUID(hex=owner.decode()),
            int(since),
            named,
            payload,
        )
    except ValueError:
        return None


async def read_records(link: RedisLink, space: UUID, *, limit: int | None = None) -> AsyncIterator[Record]:
    """What stands in a space, piece by piece; one that changes meanwhile may come twice. Raises `RedisUnavailable`."""
    cursor, seen = b"0", 0
    while limit is None or seen < limit:
        cursor, entries = await link.call("HSCAN", holds_key(space), cursor, "COUNT", 256)
        for name, value in zip(entries[::2], entries[1::2], strict=True):
            seen += 1
            if (record := read_record(space, name, value)) is not None:
                yield record
        if cursor == b"0":
            return


@dataclass(frozen=True, slots=True)
class ReaperState:
    """For metrics: rows written for dead workers, allotments given back, and records that nobody can settle."""

    reaped: int
    returned: int
    unreadable: int


@dataclass(slots=True)
class _Look:
    """What one turn has found out so far. `calls`: those that need a row, with their records in all spaces."""

    live: frozenset[UUID]
    gone: dict[UUID, bool] = field(default_factory=dict)
    calls: dict[UUID, list[Record]] = field(default_factory=dict)


class Reaper:
    """`run` is its task. `adopted` is told of journals that are in the ledger."""

    def __init__(
        self,
        link: RedisLink,
        counters: Counters,
        fleet: Fleet,
        clock: Clock,
        *,
        worker_id: UUID,
        holdings: Holdings,
        settle: Callable[[Settlement], bool],
    ) -> None:
        """`settle` puts an ending into this worker's journal."""
        self._link = link
        self._counters = counters
        self._fleet = fleet
        self._clock = clock
        self._worker_id = worker_id
        self._holdings = holdings
        self._settle = settle
        self._tasks: set[asyncio.Task[None]] = set()
        # Dead for sure, and not buried yet; True where the journal was whole, so that every record may go.
        self._dead: dict[UUID, bool] = {}
        # Gone with their journals: not waited for until their signs of life run out.
        self._lost: set[UUID] = set()
        # Calls with a row written by us; True once the ledger has it, and the records may go.
        self._written: dict[UUID, bool] = {}
        self._reaped = self._returned = self._unreadable = 0

    async def run(self) -> None:
        """Never returns; cancel it."""
        while True:
            try:
                await self._wait()
                if await self._may(TURN_KEY, TURN_LOCK_MS):
                    await self.turn()
                if await self._may(SWEEP_KEY, SWEEP_MS):
                    await self.sweep()
            except DependencyUnavailable:
                log.debug("reaper_not_reached")
            except Exception:
                # The task's boundary: the next turn looks again.
                log.exception("reaper_failed")

    async def _wait(self) -> None:
        """A turn's time, cut short when a neighbour is found to be lost. Raises `DependencyUnavailable`."""
        # Jittered, so that every worker gets its turn.
        until = self._clock.monotonic() + TURN_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - spreads workers only
        while (left := until - self._clock.monotonic()) > 0:
            await asyncio.sleep(min(left, LOST_SECONDS))
            if await self._fleet.lost_here() - self._lost:
                return

    async def _may(self, key: bytes, lock_ms: int) -> bool:
        """Whether it is for us this time."""
        return bool(await self._link.call("SET", key, self._worker_id.hex, "NX", "PX", lock_ms))

    async def turn(self) -> None:
        """Look at every record once. Raises `DependencyUnavailable`."""
        for worker_id, is_whole in list(self._dead.items()):
            await self._bury(worker_id, is_whole=is_whole)
        self._lost |= await self._fleet.lost_here()
        look = _Look(await self._fleet.live_workers() - self._lost, dict.fromkeys(self._lost, True))
        for space in await self._find_spaces():
            await self._look_at(space, look)
        for hold_id, records in look.calls.items():
            if hold_id not in self._written:
                self._write_row(hold_id, records)
        self._written = {
            one: is_shipped for one, is_shipped in self._written.items() if one in look.calls or not is_shipped
        }
        for worker_id in list(self._lost) if not look.calls else ():
            # Nothing stands in its name any more.
            await self._fleet.bury(worker_id)
            self._lost.discard(worker_id)

    async def sweep(self) -> int:
        """Remove counters of windows that nobody asks about any more, and of epochs that are over."""
        swept = 0
        async for keys in self._link.scan("tk:{*}:b:*"):
            by_space: dict[UUID, list[str]] = {}
            for key in keys:
                space, ref = read_counter_key(key)
                by_space.setdefault(space, []).append(ref)
            for space, refs in by_space.items():
                for start in range(0, len(refs), MAX_NAMED):
                    swept += await self._counters.script.sweep(space, refs[start : start + MAX_NAMED])
        return swept

    def acknowledge(self, settlements: Sequence[Settlement]) -> None:
        """The ledger has these rows: the records of those we wrote may go."""
        shipped = [one.intent for one in settlements if self._written.get(one.intent.hold_id) is False]
        self._written.update((intent.hold_id, True) for intent in shipped)
        if shipped:
            self._spawn(self._forget(shipped), "reaper-forget")

    def adopted(self, worker_id: UUID, is_whole: bool) -> None:
        """A dead worker's journal is in the ledger: what it held is settled there, or was never sent."""
        self._dead[worker_id] = is_whole
        self._spawn(self._bury(worker_id, is_whole=is_whole), f"bury-{worker_id.hex}")

    async def finish(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def state(self) -> ReaperState:
        return ReaperState(self._reaped, self._returned, self._unreadable)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forget(self, intents: Sequence[Intent]) -> None:
        """What fails here is seen again in the next turn."""
        refs: dict[UUID, set[str]] = {}
        fields: dict[UUID, list[str]] = {}
        for intent in intents:
            for ref in intent.budgets:
                space = PLATFORM if ref.startswith(OF_PLATFORM) else intent.tenant_id
                refs.setdefault(space, set()).add(ref.removeprefix(OF_PLATFORM))
                fields.setdefault(space, []).append(intent.hold_id.hex)
        try:
            for space, named in refs.items():
                await self._counters.close_records(space, list(dict.fromkeys(fields[space])), named)
        except DependencyUnavailable:
            log.debug("records_not_forgotten", records=len(intents))

    async def _bury(self, worker_id: UUID, *, is_whole: bool) -> None:
        """What fails here is done in the next turn."""
        try:
            await self._fleet.bury(worker_id)
            # What could not be read of a journal is settled by the records, as soon as the worker counts as gone.
            for space in await self._find_spaces() if is_whole else ():
                records = [record async for record in read_records(self._link, space) if record.owner == worker_id]
                await self._close(space, records)
            if not is_whole:
                await self._link.call("DEL", worker_key(worker_id))
            self._dead.pop(worker_id, None)
        except DependencyUnavailable:
            log.debug("worker_not_buried", worker_id=str(worker_id))

    async def _close(self, space: UUID, records: Sequence[Record]) -> None:
        batch: list[Record] = []
        refs: set[str] = set()
        for record in records:
            if batch and (len(batch) == MAX_NAMED or len(refs.union(record.refs)) > MAX_NAMED):
                await self._counters.close_records(space, [one.field for one in batch], refs)
                batch, refs = [], set()
            batch.append(record)
            refs.update(record.refs)
        if batch:
            await self._counters.close_records(space, [one.field for one in batch], refs)

    def _write_row(self, hold_id: UUID, records: Sequence[Record]) -> None:
        """One row for a hold, whichever spaces it is in; `acknowledge` forgets it there when the ledger has it."""
        intent = next((found for record in records if (found := record.intent()) is not None), None)
        if intent is None:
            self._unreadable += 1
            log.error("record_unreadable", hold_id=str(hold_id), tenant_id=str(records[0].space))
            return
        record = next((one for one in records if one.space != PLATFORM), records[0])
        if not intent.budgets:
            intent = replace(intent, budgets=_ledger_refs(records))
        self._written[hold_id] = False
        self._reaped += 1
        self._settle(_settlement_of(intent, record))

    def _is_orphan(self, record: Record, held: set[UUID]) -> bool:
        """Ours, and we know nothing of it: what we said of it was lost on its way."""
        if self._age_seconds(record) < TOMBSTONE_SECONDS:
            return False
        if record.hold_id is None:
            return not self._counters.allotments.knows(record.field)
        return record.hold_id not in held

    async def _look_at(self, space: UUID, look: "_Look") -> None:
        is_whole = (await self._counters.script.look(space)).is_ready
        held = {hold.request_id for hold, _ in self._holdings.holds_of(space)}
        done: list[Record] = []
        async for record in read_records(self._link, space):
            if record.state == "x":
                is_done = self._age_seconds(record) > TOMBSTONE_SECONDS
            elif record.owner == self._worker_id:
                is_done = self._is_orphan(record, held)
            else:
                # While counters are being rebuilt those who live have not told everything yet.
                is_done = is_whole and await self._is_gone(record.owner, look) and self._is_settled(record, look)
            if is_done:
                done.append(record)
        await self._close(space, done)

    def _is_settled(self, record: Record, look: "_Look") -> bool:
        """Of a worker that is gone: whether nothing is left but to forget the record. Else its call needs a row."""
        if record.hold_id is None:
            self._returned += 1
            return True
        if self._written.get(record.hold_id):
            return True
        look.calls.setdefault(record.hold_id, []).append(record)
        return False

    async def _is_gone(self, owner: UUID, look: "_Look") -> bool:
        if owner in look.live:
            return False
        if owner not in look.gone:
            look.gone[owner] = not await self._link.call("EXISTS", worker_key(owner))
        return look.gone[owner]

    async def _find_spaces(self) -> list[UUID]:
        found = [key async for keys in self._link.scan("tk:{*}:holds") for key in keys]
        return sorted({UUID(hex=key[4:36].decode()) for key in found})

    def _age_seconds(self, record: Record) -> float:
        return self._clock.unix() - record.since_ms / 1000


def _settlement_of(intent: Intent, record: Record) -> Settlement:
    """A settled record knows the charge. Of an open one only the estimate is known, and that no more was held."""
    settlement = interruption(intent)
    if record.state == "s" or settlement.charge_nano is None:
        charge = record.amount_nano
    else:
        charge = min(record.amount_nano, settlement.charge_nano)
    cost = settlement.cost_nano
    if settlement.charge_nano and cost is not None:
        cost = cost * charge // settlement.charge_nano
    return replace(settlement, charge_nano=charge, cost_nano=charge if cost is None else cost)


def _ledger_refs(records: Sequence[Record]) -> tuple[str, ...]:
    """As an intent names them."""
    return tuple(OF_PLATFORM + ref if record.space == PLATFORM else ref for record in records for ref in record.refs)


def read_counter_key(key: bytes) -> tuple[UUID, str]:
    """`tk:{<32 hex>}:b:<ref>`."""
    return UUID(hex=key[4:36].decode()), key[40:].decode()
