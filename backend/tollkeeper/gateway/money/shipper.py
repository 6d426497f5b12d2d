"""Takes settlements from the journal to the ledger, and adopts what dead workers left behind.

One task per worker. PostgreSQL away: everything stays in the journal and is tried again, ever more slowly, up to
`MAX_PAUSE_SECONDS`. A settlement the ledger can never take is put aside in a file, loudly, and holds nothing up.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from tollkeeper.contracts.money import Spend
from tollkeeper.contracts.ports import UsageSink
from tollkeeper.contracts.usage import Settlement
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.money.journal_format import pack_intent, pack_settlement, read_settlements
from tollkeeper.gateway.money.journal_replay import adopt, list_journals
from tollkeeper.gateway.money.journal_segment import Segment

log = structlog.get_logger(__name__)

# A transaction costs as much as four hundred of its rows, so they gather: up to so many, for so long.
BATCH: Final = 1_000
INTERVAL_SECONDS: Final = 0.5
FIRST_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 5.0
ADOPT_SECONDS: Final = 5.0
# A ledger that is stalled breaks no connection; what it was given is sent again, and counts once.
SHIP_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class ShipperState:
    """For readiness and metrics. `failing_since` is on the monotonic clock; None while the ledger takes lines."""

    shipped: int
    interrupted: int
    rejected: int
    failing_since: float | None
    problem: str | None


class Shipper:
    """`run` is the task; `drain` empties the journal once no call is open any more."""

    def __init__(
        self,
        journal: Journal,
        sink: UsageSink,
        clock: Clock,
        *,
        directory: Path,
        interval_seconds: float = INTERVAL_SECONDS,
        adopt_seconds: float = ADOPT_SECONDS,
        ship_seconds: float = SHIP_SECONDS,
    ) -> None:
        self._journal = journal
        self._sink = sink
        self._clock = clock
        self._directory = directory
        self._interval_seconds = interval_seconds
        self._adopt_seconds = adopt_seconds
        self._ship_seconds = ship_seconds
        # Told what the ledger has taken, and the counters that it named, after each commit.
        self.on_shipped: Callable[[Sequence[Settlement], Sequence[Spend]], None] | None = None
        # Told of a worker whose journal is in the ledger, whole or as far as it could be read: it is dead.
        self.on_adopted: Callable[[UUID, bool], None] | None = None
        self._wake = asyncio.Event()
        self._full = asyncio.Event()
        self._gathered = 0
        self._turn = asyncio.Lock()
        self._adopting = asyncio.Lock()
        self._shipped = 0
        self._interrupted = 0
        self._rejected = 0
        self._failing_since: float | None = None
        self._problem: str | None = None
        journal.on_pending = self._note

    async def run(self) -> None:
        """Never returns; cancel it. Leftovers are adopted at the start and every `adopt_seconds`."""
        adopt_at = 0.0
        while True:
            try:
                if self._clock.monotonic() >= adopt_at:
                    await self.adopt()
                    adopt_at = self._clock.monotonic() + self._adopt_seconds
                await self._ship_all()
            except DependencyUnavailable:
                await asyncio.sleep(self._pause())
                continue
            except Exception:
                # The task's boundary: whatever it was, the lines are safe in the journal and are tried again.
                log.exception("shipper_failed")
                await asyncio.sleep(MAX_PAUSE_SECONDS)
                continue
            await self._wait(max(0.05, adopt_at - self._clock.monotonic()))

    async def adopt(self) -> None:
        """Take what dead workers of this host left behind to the ledger. Raises `DependencyUnavailable`."""
        async with self._adopting:
            await self._adopt_all()

    async def drain(self, timeout_seconds: float) -> bool:
        """Ship everything there is. False when the ledger did not take it in time; the next start replays it."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._journal.has_pending:
                    try:
                        await self._ship_all()
                    except DependencyUnavailable:
                        await asyncio.sleep(FIRST_PAUSE_SECONDS)
        except TimeoutError:
            return False
        self._journal.remove_shipped()
        return True

    def state(self) -> ShipperState:
        return ShipperState(self._shipped, self._interrupted, self._rejected, self._failing_since, self._problem)

    async def _wait(self, timeout_seconds: float) -> None:
        """Until something was settled and had `interval_seconds` to gather company, or makes a batch."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._wake.wait()
            async with asyncio.timeout(self._interval_seconds):
                await self._full.wait()

    def _note(self) -> None:
        self._gathered += 1
        if self._gathered == 1:
            self._wake.set()
        elif self._gathered == BATCH:
            self._full.set()

    def _pause(self) -> float:
        assert self._failing_since is not None
        failing = self._clock.monotonic() - self._failing_since
        pause = min(MAX_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, failing))
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads workers, keeps no secret

    async def _ship_all(self) -> None:
        # `run` and `drain` may meet; a segment's queue is taken from by one of them at a time.
        async with self._turn:
            self._wake.clear()
            self._full.clear()
            self._gathered = 0
            for segment in self._journal.list_segments():
                # What is settled meanwhile gathers for the next turn: shipped at once, it would go in small batches.
                due = len(segment.pending)
                while due:
                    batch = list(islice(segment.pending, min(BATCH, due)))
                    await self._ship(batch)
                    self._journal.acknowledge(segment, len(batch))
                    due -= len(batch)
                await self._ship_unread(segment)
                self._journal.remove_shipped()

    async def _ship_unread(self, segment: Segment) -> None:
        while segment.unread_from is not None:
            batch, offset = await asyncio.to_thread(
                read_settlements, segment.path, segment.unread_from, segment.used, BATCH
            )
            await self._ship(batch)
            self._journal.acknowledge_read(segment, offset)

    async def _adopt_all(self) -> None:
        for path in await asyncio.to_thread(list_journals, self._directory):
            if path.stem == str(self._journal.boot_id):
                continue
            with adopt(path) as leftover:
                if leftover is None:
                    continue
                batches = leftover.batches()
                while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                    await self._ship(batch)
                leftover.remove()
                self._interrupted += leftover.interrupted
                if self.on_adopted is not None and (worker_id := _worker_of(path)) is not None:
                    self.on_adopted(worker_id, not leftover.damage)
                log.info("journal_adopted", journal=path.stem, interrupted=leftover.interrupted)

    async def _ship(self, batch: Sequence[Settlement]) -> None:
        """Raises `DependencyUnavailable` when nothing was written; else all of it is in the ledger or put aside."""
        if not batch:
            return
        try:
            await self._hand_over(batch)
        except DependencyUnavailable as error:
            if self._failing_since is None:
                self._failing_since = self._clock.monotonic()
                log.warning("ledger_unavailable", problem=error.message)
            self._problem = error.message
            raise
        except ValueError as error:
            # One line must not hold up every other for ever: halve until it stands alone.
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._ship(batch[:middle])
                await self._ship(batch[middle:])
                return
            self._put_aside(batch[0], error)
            return
        if self._failing_since is not None:
            log.info("ledger_available", seconds=self._clock.monotonic() - self._failing_since)
        self._failing_since = None
        self._problem = None
        self._shipped += len(batch)

    async def _hand_over(self, batch: Sequence[Settlement]) -> None:
        try:
            async with asyncio.timeout(self._ship_seconds):
                spends = await self._sink.ship(batch)
        except TimeoutError:
            raise DependencyUnavailable("The ledger does not answer in time.") from None
        if self.on_shipped is not None:
            self.on_shipped(batch, spends)

    def _put_aside(self, settlement: Settlement, error: ValueError) -> None:
        self._rejected += 1
        line = pack_settlement(settlement, pack_intent(settlement.intent))
        with (self._directory / "rejected.jsonl").open("ab") as file:
            file.write(line + b"\n")
        log.error("settlement_rejected", request_id=str(settlement.intent.request_id), error=type(error).__name__)


def _worker_of(path: Path) -> UUID | None:
    """A journal is named for its worker; other files may have been put there by hand."""
    try:
        return UUID(path.stem)
    except ValueError:
        return None
