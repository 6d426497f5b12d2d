"""The workers of all hosts know each other through PostgreSQL: who lives, who must answer, who may rebuild counters.

Each writes that it is alive; all count each other, for local shares while Redis is gone. A worker's id is also the name
of its journal, so whoever adopts that journal knows that the worker is dead.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.db.session import Database

log = structlog.get_logger(__name__)

BEAT_SECONDS: Final = 5.0
# A worker that was silent for this long is gone: three beats and the time of one slow write.
ALIVE_SECONDS: Final = 20
# Less than that, by the time of a slow write: for so long after a beat the others are certain to count us.
CERTAIN_SECONDS: Final = 12.0

_BEAT: Final = text("""
    INSERT INTO workers (id, host, pid, journal_path) VALUES (:id, :host, :pid, :journal)
    ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
    RETURNING heartbeat_at
""")
_LIVE: Final = text("""
    SELECT id FROM workers
    WHERE heartbeat_at > least(now(), cast(:back_to AS timestamptz)) - make_interval(secs => :seconds)
""")


_HERE: Final = text("SELECT id, pid FROM workers WHERE host = :host AND journal_path = :journal")


class Fleet:
    """`run` beats until cancelled. Nobody to ask, PostgreSQL gone: the last known count holds, at least `expected`."""

    def __init__(self, database: Database, *, expected: int, journal_path: str, worker_id: UUID | None = None) -> None:
        self._database = database
        self._expected = expected
        self._journal_path = journal_path
        self._live = expected
        self._beaten_at: float | None = None
        self._last_beat: datetime | None = None
        # While PostgreSQL was away nobody could beat: for a while those who did before it went count as alive.
        self._back_to: datetime | None = None
        self._back_until = 0.0
        self.worker_id: UUID = worker_id or uuid7()

    def live(self) -> int:
        return self._live

    def is_counted(self) -> bool:
        return self._beaten_at is not None and time.monotonic() - self._beaten_at < CERTAIN_SECONDS

    async def run(self) -> None:
        try:
            while True:
                try:
                    await self.beat()
                except DependencyUnavailable:
                    log.debug("fleet_not_counted")
                await asyncio.sleep(BEAT_SECONDS)
        finally:
            await self._leave()

    async def beat(self) -> None:
        """Raises `DependencyUnavailable`."""
        sent_at = time.monotonic()
        async with self._database.platform() as session:
            beaten = await session.execute(
                _BEAT,
                {
                    "id": self.worker_id,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "journal": self._journal_path,
                },
            )
            last_beat = beaten.scalar_one()
            await session.execute(text("DELETE FROM workers WHERE heartbeat_at < now() - interval '1 hour'"))
        if self._was_cut_off(sent_at):
            self._back_to, self._back_until = self._last_beat, sent_at + ALIVE_SECONDS
        self._beaten_at, self._last_beat = sent_at, last_beat
        self._live = max(1, len(await self.live_workers()))

    async def live_workers(self) -> frozenset[UUID]:
        async with self._database.platform() as session:
            return await self._find_live(session)

    async def call_for_counters(self, tenant_id: UUID) -> frozenset[UUID]:
        async with self._database.platform() as session:
            await announce(session, Topic.COUNTERS, tenant_id)
            return await self._find_live(session)

    @asynccontextmanager
    async def rebuilding(self, tenant_id: UUID) -> AsyncIterator[bool]:
        """Held as long as the transaction lives, so that a worker which dies lets go of it."""
        async with self._database.platform() as session:
            taken = await session.execute(
                text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))"),
                {"name": f"counters:{tenant_id.hex}"},
            )
            yield bool(taken.scalar_one())

    async def lost_here(self) -> frozenset[UUID]:
        """A journal that is there is read by whoever adopts it; without one there is no reason to wait for a heartbeat."""
        async with self._database.platform() as session:
            found = await session.execute(_HERE, {"host": socket.gethostname(), "journal": self._journal_path})
            neighbours = [(row.id, row.pid) for row in found if row.id != self.worker_id]
        return frozenset(
            worker_id for worker_id, pid in neighbours if not _runs(pid) and not self._has_journal(worker_id)
        )

    def _has_journal(self, worker_id: UUID) -> bool:
        folder = Path(self._journal_path) / socket.gethostname()
        return any(folder.glob(f"{worker_id}[.-]*"))

    async def bury(self, worker_id: UUID) -> None:
        async with self._database.platform() as session:
            await session.execute(text("DELETE FROM workers WHERE id = :id"), {"id": worker_id})

    async def _find_live(self, session: AsyncSession) -> frozenset[UUID]:
        now = time.monotonic()
        back_to = self._back_to if now < self._back_until else None
        if back_to is None and self._was_cut_off(now):
            back_to = self._last_beat
        found = await session.execute(_LIVE, {"back_to": back_to, "seconds": ALIVE_SECONDS})
        # Whoever asks is alive, whatever the table says.
        return frozenset((*found.scalars(), self.worker_id))

    def _was_cut_off(self, now: float) -> bool:
        return self._beaten_at is not None and now - self._beaten_at > ALIVE_SECONDS / 2

    async def _leave(self) -> None:
        try:
            await self.bury(self.worker_id)
        except DependencyUnavailable:
            log.debug("fleet_not_left")


def _runs(pid: int) -> bool:
    """Also true of another process that has the number by now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
