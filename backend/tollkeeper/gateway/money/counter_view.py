"""Live counters, for the control plane: what budgets have spent and held, whose holds those are, what rates still allow."""

import math
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import hiredis

from tollkeeper.contracts.money import Limit
from tollkeeper.contracts.ports import CounterState, OpenHold, RateState
from tollkeeper.core.clock import Clock
from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.gateway.money.counter_script import MAX_NAMED, Counted
from tollkeeper.gateway.money.counters import Counters
from tollkeeper.gateway.money.reaper import Record, read_records
from tollkeeper.gateway.money.terms import SHADOW, Place, PlaceKind, limit_place

# Looked through for one answer; a tenant with more calls open than that shows some of them.
_MOST_RECORDS: Final = 20_000


class LiveCounters:
    """The `CounterView` of this system. It reads past the admission, and asks for counters that nobody needed so far."""

    def __init__(self, link: RedisLink, clock: Clock, counters: Counters) -> None:
        self._link = link
        self._clock = clock
        self._counters = counters

    async def counters(self, tenant_id: UUID, refs: Sequence[str]) -> Sequence[CounterState]:
        counted = await self._peek(tenant_id, refs)
        unknown = [ref for ref, one in zip(refs, counted, strict=True) if one is None or one.base is None]
        if unknown:
            # Soft budgets are counted without asking what the ledger holds, and nobody waits for their rebuild.
            if not (await self._counters.script.look(tenant_id)).is_ready:
                self._counters.wish(tenant_id)
            elif await self._counters.init(tenant_id, unknown):
                counted = await self._peek(tenant_id, refs)
        return [
            CounterState(ref, None, None) if one is None or one.base is None else CounterState(ref, one.base, one.held)
            for ref, one in zip(refs, counted, strict=True)
        ]

    async def holds(self, tenant_id: UUID, ref: str, *, limit: int) -> Sequence[OpenHold]:
        found: dict[UUID, Record] = {}
        async for record in read_records(self._link, tenant_id, limit=_MOST_RECORDS):
            if ref in record.refs and record.state in "hs" and record.hold_id is not None:
                found[record.hold_id] = record
        oldest = sorted(found.values(), key=lambda record: record.since_ms)[:limit]
        return [self._hold(record) for record in oldest]

    async def rate(self, tenant_id: UUID, limit: Limit, subject: str) -> RateState:
        place = limit_place(tenant_id, limit, subject, self._clock.unix())
        kind = place.kind % SHADOW
        if kind == PlaceKind.PARALLEL:
            # A lease that has run out counts no more, though it may stand there still.
            seconds, micros = await self._ask("TIME")
            now_ms = int(seconds) * 1000 + int(micros) // 1000
            taken = await self._ask("ZCOUNT", place.key, f"({now_ms}", "+inf")
            return RateState(max(0, place.one - taken), 0.0)
        (seconds, micros), stored = await self._link.call_many([("TIME",), ("GET", place.key)])
        if isinstance(stored, hiredis.ReplyError):
            raise RedisUnavailable(str(stored))
        return _rate_state(place, int(stored or 0), int(seconds) * 1_000_000 + int(micros), kind == PlaceKind.REQUESTS)

    async def _peek(self, tenant_id: UUID, refs: Sequence[str]) -> list[Counted | None]:
        counted: list[Counted | None] = []
        for start in range(0, len(refs), MAX_NAMED):
            counted += await self._counters.script.peek(tenant_id, refs[start : start + MAX_NAMED])
        return counted

    def _hold(self, record: Record) -> OpenHold:
        intent = record.intent()
        assert record.hold_id is not None
        return OpenHold(
            request_id=record.hold_id if intent is None else intent.request_id,
            worker_id=record.owner,
            amount_nano=record.amount_nano,
            age_seconds=max(0.0, self._clock.unix() - record.since_ms / 1000),
            is_settled=record.state == "s",
            model=None if intent is None else intent.model,
            key_id=None if intent is None else intent.key_id,
        )

    async def _ask(self, *command: bytes | str | int) -> Any:
        try:
            return await self._link.call(*command)
        except hiredis.ReplyError as error:
            raise RedisUnavailable(str(error)) from error


def _rate_state(place: Place, stored: int, now_us: int, is_whole: bool) -> RateState:
    """The arithmetic of `admission.lua`: when the bucket is full again, and how many fit until it is empty."""
    interval = math.ceil(place.one / place.two) if is_whole else place.one / place.two
    room = math.ceil(interval * place.three)
    if is_whole:
        stored = min(stored, now_us + room)
    ahead = max(0, stored - now_us)
    return RateState(max(0, math.floor((room - ahead) / interval + 1e-9)), ahead / 1_000_000)
