"""Holds the live counters against the ledger and against the records beside them; for an operator, beside running gateways.

A counter is right when its base is what the ledger has charged to it, and what is held beside that is the sum of the
records that name it. Both change while one looks, so what differs is looked at again, and told only if it goes on.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import hiredis

from tollkeeper.contracts.ports import SpendSource
from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.core.resp import Command
from tollkeeper.gateway.money.counter_script import MAX_NAMED, CounterScript
from tollkeeper.gateway.money.reaper import read_counter_key, read_record
from tollkeeper.gateway.money.terms import counter_key, gen_key, holds_key

# A row that was shipped this moment is told within milliseconds.
PAUSE_SECONDS: Final = 1.0
_LOOKS: Final = 4


@dataclass(frozen=True, slots=True)
class LiveDrift:
    """One counter. What it says too much of, below zero too little: against the ledger, and beside it."""

    tenant_id: UUID
    ref: str
    base_nano: int
    base_drift_nano: int
    held_nano: int
    held_drift_nano: int


@dataclass(slots=True)
class LiveVerified:
    """`uncounted`: of spaces whose counters are built anew with their next call, or not told yet what the ledger holds."""

    counters: int = 0
    uncounted: int = 0
    open_calls: int = 0
    unshipped_calls: int = 0
    wrong: list[LiveDrift] = field(default_factory=list)


async def verify_live(link: RedisLink, spends: SpendSource, *, pause_seconds: float = PAUSE_SECONDS) -> LiveVerified:
    """Raises `DependencyUnavailable`."""
    script, found = CounterScript(link), LiveVerified()
    spaces: dict[UUID, list[str]] = {}
    async for keys in link.scan("tk:{*}:b:*"):
        for key in keys:
            space, ref = read_counter_key(key)
            spaces.setdefault(space, []).append(ref)
    for space, refs in spaces.items():
        look = await _look(script, link, spends, space, refs)
        found.counters += look.counters
        found.uncounted += len(refs) - look.counters
        found.open_calls += look.open_calls
        found.unshipped_calls += look.unshipped_calls
        wrong = look.wrong
        for _ in range(_LOOKS - 1):
            if not wrong:
                break
            await asyncio.sleep(pause_seconds)
            wrong = (await _look(script, link, spends, space, [drift.ref for drift in wrong])).wrong
        found.wrong += wrong
    return found


async def count_anew(link: RedisLink, spaces: Iterable[UUID]) -> None:
    """Let these counters be built anew: the next call under a hard budget waits for it, as after a loss of Redis."""
    for space in spaces:
        await link.call("DEL", gen_key(space))


async def _look(
    script: CounterScript, link: RedisLink, spends: SpendSource, space: UUID, refs: Sequence[str]
) -> LiveVerified:
    found = LiveVerified()
    trust = await script.look(space)
    if not trust.is_ready:
        return found
    counted, records = await _read(link, space, refs)
    held: dict[str, int] = {}
    for name, value in records:
        record = read_record(space, name, value)
        if record is None:
            continue
        found.open_calls += record.state == "h"
        found.unshipped_calls += record.state == "s"
        for ref in record.refs:
            held[ref] = held.get(ref, 0) + record.amount_nano
    known = [
        (ref, int(base), int(beside or 0))
        for ref, (epoch, base, beside) in zip(refs, counted, strict=True)
        if epoch is not None and epoch.decode() == trust.epoch and base is not None
    ]
    found.counters = len(known)
    for start in range(0, len(known), MAX_NAMED):
        some = known[start : start + MAX_NAMED]
        # After Redis: the ledger is never behind it.
        ledger = await spends.read(space, [ref for ref, _, _ in some])
        for (ref, base, beside), spend in zip(some, ledger, strict=True):
            drift = LiveDrift(space, ref, base, base - spend.spent_nano, beside, beside - held.get(ref, 0))
            if drift.base_drift_nano or drift.held_drift_nano:
                found.wrong.append(drift)
    return found


async def _read(
    link: RedisLink, space: UUID, refs: Sequence[str]
) -> tuple[list[list[bytes | None]], list[tuple[bytes, bytes]]]:
    """The counters (epoch, base, held) and all records of a space, as they are at one moment."""
    commands: list[Command] = [("MULTI",), ("HGETALL", holds_key(space))]
    commands += [("HMGET", counter_key(space, ref), "e", "b", "h") for ref in refs]
    *_, answer = await link.call_many([*commands, ("EXEC",)])
    if isinstance(answer, hiredis.ReplyError):
        raise RedisUnavailable(str(answer))
    records, *counted = answer
    return counted, list(zip(records[::2], records[1::2], strict=True))
