"""Each worker writes that it is alive; all of them count each other, for local shares while Redis is gone."""

import asyncio
import os
import socket
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text

from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.db.session import Database

log = structlog.get_logger(__name__)

BEAT_SECONDS: Final = 5.0
# A worker that was silent for this long is gone: three beats and the time of one slow write.
ALIVE_SECONDS: Final = 20


class Fleet:
    """`run` beats until cancelled. Nobody to ask, PostgreSQL gone: the last known count holds, at least `expected`."""

    def __init__(self, database: Database, *, expected: int, journal_path: str) -> None:
        self._database = database
        self._expected = expected
        self._journal_path = journal_path
        self._live = expected
        self.worker_id: UUID = uuid7()

    def live(self) -> int:
        return self._live

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
        async with self._database.platform() as session:
            await session.execute(
                text("""
                    INSERT INTO workers (id, host, pid, journal_path) VALUES (:id, :host, :pid, :journal)
                    ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
                """),
                {
                    "id": self.worker_id,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "journal": self._journal_path,
                },
            )
            await session.execute(text("DELETE FROM workers WHERE heartbeat_at < now() - interval '1 hour'"))
            found = await session.execute(
                text("SELECT count(*) FROM workers WHERE heartbeat_at > now() - make_interval(secs => :seconds)"),
                {"seconds": ALIVE_SECONDS},
            )
            self._live = max(1, int(found.scalar_one()))

    async def _leave(self) -> None:
        try:
            async with self._database.platform() as session:
                await session.execute(text("DELETE FROM workers WHERE id = :id"), {"id": self.worker_id})
        except DependencyUnavailable:
            log.debug("fleet_not_left")
