"""Writes finished calls for the data plane, as `contracts.ports.RequestLogSink`: each once, in its own day."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

import asyncpg
import structlog
from sqlalchemy.exc import DBAPIError

from tollkeeper.contracts.request_log import CallRecord
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7_unix_ms
from tollkeeper.db.days import oldest_kept_day
from tollkeeper.db.session import Database, driver_of
from tollkeeper.domains.request_logs.partitions import DAYS
from tollkeeper.domains.request_logs.row import INSERT, rows_json

log = structlog.get_logger(__name__)

# A clock may be ahead of ours by this much; a day beyond it is no day to make a partition for.
_DAYS_AHEAD: Final = 2


class RequestLogSink:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        retention_days: int,
        on_written: Callable[[Sequence[CallRecord]], None] | None = None,
    ) -> None:
        """`on_written` is told of what is in the table now; it never waits."""
        self._database = database
        self._clock = clock
        self._retention_days = retention_days
        self._on_written = on_written

    async def write(self, records: Sequence[CallRecord]) -> None:
        """Raises `DependencyUnavailable` or, for what the table can never take, `ValueError`: nothing is written then."""
        today = self._clock.now().date()
        first, end = oldest_kept_day(today, self._retention_days), today + timedelta(days=_DAYS_AHEAD)
        kept = [record for record in records if first <= _day_of(record) <= end]
        if not kept:
            return
        document = rows_json(kept)
        try:
            await self._insert(document)
        except _NoPartition:
            async with self._database.platform() as session:
                await DAYS.add(session, sorted({_day_of(record) for record in kept}))
            await self._insert(document)
        if self._on_written is not None:
            self._on_written(kept)

    async def _insert(self, document: str) -> None:
        try:
            async with self._database.platform() as session:
                connection = await driver_of(session)
                # Looked up by people, billed by nobody: it need not reach the disk first.
                await connection.execute("SET LOCAL synchronous_commit TO off")
                await connection.execute(INSERT, document)
        except asyncpg.CheckViolationError as error:
            if error.constraint_name:
                raise ValueError(f"a call does not fit the request log: {error}") from error
            raise _NoPartition from error
        except asyncpg.DataError as error:
            raise ValueError(f"a call does not fit the request log: {error}") from error
        except (asyncpg.PostgresError, DBAPIError) as error:
            raise _unavailable() from error


class _NoPartition(Exception):
    """There is no partition for the day of a row."""


def _day_of(record: CallRecord) -> date:
    return datetime.fromtimestamp(uuid7_unix_ms(record.request_id) / 1000, UTC).date()


def _unavailable() -> DependencyUnavailable:
    return DependencyUnavailable("The request log cannot be written at the moment.")
