"""The commands that keep counters right (`counters.lua`), one method each, and how their keys are named."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

import hiredis

from tollkeeper.contracts.money import Spend
from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.core.resp import Command
from tollkeeper.gateway.money.terms import counter_key, gen_key, holds_key

SCRIPT: Final = files(__package__).joinpath("counters.lua").read_bytes()
SCRIPT_SHA: Final = sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()
# Named in one command.
MAX_NAMED: Final = 64
Argument = bytes | str | int


@dataclass(frozen=True, slots=True)
class Trust:
    """What Redis says of a space. `is_live`: of this very server; `is_ready`: whole as well."""

    epoch: str
    is_live: bool
    is_ready: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """What a worker wants put aside of one counter (`allot`): at least `floor`, at most `want`."""

    ref: str
    floor: int
    want: int
    limit: int
    worst: int
    sequence: int


def pushed_key(space: UUID) -> bytes:
    return b"tk:{%b}:pushed" % space.hex.encode()


def worker_key(worker_id: UUID) -> bytes:
    return b"tk:w:%b" % worker_id.hex.encode()


def allotment_field(worker_id: UUID, ref: str) -> str:
    return f"A{worker_id.hex}:{ref}"


@dataclass(frozen=True, slots=True)
class Counted:
    """`base` and `version` are None where Redis has not been told what the ledger holds."""

    base: int | None
    version: int | None
    held: int


class CounterScript:
    """Everything raises `RedisUnavailable`, also when the server answers but cannot do it."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def run_id_of(self, space: UUID) -> str:
        return self._link.run_id_at(gen_key(space)) or ""

    async def look(self, space: UUID) -> Trust:
        """Also a fence: whatever was asked before on this connection has been answered."""
        run_id, epoch, state = await self._link.call("HMGET", gen_key(space), "r", "e", "s")
        is_live = epoch is not None and run_id == self.run_id_of(space).encode()
        return Trust("" if epoch is None else epoch.decode(), is_live, is_live and state == b"r")

    async def peek(self, space: UUID, refs: Sequence[str]) -> list[Counted | None]:
        """Counters as they are; None for one of another epoch, or that is not there."""
        asked: list[Command] = [("HMGET", gen_key(space), "r", "e", "s")]
        asked += [("HMGET", counter_key(space, ref), "e", "b", "v", "h") for ref in refs]
        (run_id, epoch, _), *counters = await self._link.call_many(asked)
        is_live = epoch is not None and run_id == self.run_id_of(space).encode()
        return [_counted(counter) if is_live and counter[0] == epoch else None for counter in counters]

    async def begin(self, space: UUID) -> tuple[bool, str]:
        began, epoch = await self._run(space, "begin")
        return began == 1, epoch.decode()

    async def answer(self, space: UUID, epoch: str, worker_id: UUID) -> bool:
        return bool(await self._run(space, "answer", (epoch, worker_id.hex)) == 1)

    async def ready(self, space: UUID, epoch: str, workers: Iterable[UUID]) -> bool | None:
        """None: the epoch is another one by now."""
        told = await self._run(space, "ready", (epoch, *[worker_id.hex for worker_id in workers]))
        return None if told == -1 else bool(told)

    async def keep(self, space: UUID, entries: Sequence[tuple[str, str, str]]) -> bool:
        """Allotments as (counter, field, value); at most `MAX_NAMED`."""
        words = [word for _, field, value in entries for word in (field, value)]
        return bool(await self._run(space, "keep", words, [ref for ref, _, _ in entries]) == 1)

    async def allot(self, space: UUID, worker_id: UUID, workers: int, wishes: Sequence[Wish]) -> list[tuple[int, int]]:
        words: list[Argument] = [worker_id.hex, max(1, workers)]
        for wish in wishes:
            words += (wish.ref, wish.floor, wish.want, wish.limit, wish.worst, wish.sequence)
        told = [int(number) for number in await self._run(space, "allot", words, [wish.ref for wish in wishes])]
        return list(zip(told[::2], told[1::2], strict=True))

    async def close(self, space: UUID, epoch: str, spends: Sequence[Spend], fields: Sequence[str] = ()) -> bool:
        """Set what the ledger holds where it is newer, then forget records, which count in no other counters.

        The ledger must have been read after the epoch was looked at. False in another epoch, where nothing was done.
        """
        bases = {spend.ref: spend for spend in spends}
        words: list[Argument] = [epoch, len(bases)]
        for spend in bases.values():
            words += (spend.spent_nano, spend.version)
        return bool(await self._run(space, "close", (*words, *fields), list(bases)) >= 0)

    async def sweep(self, space: UUID, refs: Sequence[str]) -> int:
        return int(await self._run(space, "sweep", (), refs))

    async def _run(self, space: UUID, operation: str, words: Sequence[Argument] = (), refs: Sequence[str] = ()) -> Any:
        keys = [gen_key(space), holds_key(space), pushed_key(space), *[counter_key(space, ref) for ref in refs]]
        rest = (len(keys), *keys, operation, self.run_id_of(space), *words)
        try:
            try:
                return await self._link.call("EVALSHA", SCRIPT_SHA, *rest)
            except hiredis.ReplyError as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
            return await self._link.call("EVAL", SCRIPT, *rest)
        except hiredis.ReplyError as error:
            # Loading, read-only, out of memory: no use for counters.
            raise RedisUnavailable(str(error)) from error


def _counted(stored: Sequence[bytes | None]) -> Counted:
    _, base, version, held = stored
    return Counted(None if base is None else int(base), None if version is None else int(version), int(held or 0))
