"""Writes settlements into the ledger and its rollups: one statement, one transaction, each row counted once.

The rollups grow by the rows that PostgreSQL says it inserted, so shipping a settlement again (a crash between commit
and acknowledgement, two shippers with the same line) changes nothing. Rows and rollups are written in sorted order,
which keeps concurrent shippers out of deadlocks.
"""

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final

import asyncpg
import structlog

from tollkeeper.contracts.money import Spend
from tollkeeper.contracts.usage import Settlement
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7_unix_ms
from tollkeeper.db.session import Database
from tollkeeper.domains.usage import rollup
from tollkeeper.domains.usage.ledger_row import COLUMNS, day_of, rows_json, unix_ms_of
from tollkeeper.domains.usage.partitions import add_days, oldest_kept_day

log = structlog.get_logger(__name__)

# A clock may be ahead of ours by this much; a day beyond it is no day to make a partition for.
DAYS_AHEAD: Final = 2
_SLICE: Final = 50
_DATA_FAULTS: Final = ("22", "23")


def _value(index: int, kind: str) -> str:
    if kind == "jsonb":
        return f"nullif(line -> {index}, 'null')"
    return kind.format(f"(line ->> {index})") if "{" in kind else f"(line ->> {index})::{kind}"


def _statement(table: str) -> str:
    names = ", ".join(name for name, _ in COLUMNS)
    values = ", ".join(_value(index, kind) for index, (_, kind) in enumerate(COLUMNS))
    grown = ", ".join(f"{name} = rollup.{name} + excluded.{name}" for name in rollup.SUMS)
    return f"""
        WITH written AS (
            INSERT INTO {table} ({names})
            SELECT {values} FROM jsonb_array_elements($1::text::jsonb) AS lines (line)
            ORDER BY 1, 2, 3, 4, 5
            ON CONFLICT DO NOTHING
            RETURNING *
        )
        INSERT INTO usage_rollups AS rollup ({", ".join(rollup.COLUMNS)})
        {rollup.select_from("written")}
        ON CONFLICT ({", ".join(rollup.KEY)}) DO UPDATE SET {grown}
    """  # noqa: S608 - names of our own


_INTO_DAYS: Final = _statement("usage_logs")
_INTO_LATE: Final = _statement("usage_late")


class LedgerSink:
    """The `UsageSink` of this system. Safe to call from several shippers at once."""

    def __init__(self, database: Database, clock: Clock, *, retention_days: int) -> None:
        self._database = database
        self._clock = clock
        self._retention_days = retention_days

    async def ship(self, settlements: Sequence[Settlement]) -> Sequence[Spend]:
        """Raises `DependencyUnavailable` or, for rows the ledger can never take, `ValueError`: nothing is written then."""
        if not settlements:
            return ()
        today = self._clock.now().date()
        first = unix_ms_of(oldest_kept_day(today, self._retention_days))
        end = unix_ms_of(today + timedelta(days=DAYS_AHEAD + 1))
        in_days: list[Settlement] = []
        late: list[Settlement] = []
        for entry in settlements:
            (in_days if first <= uuid7_unix_ms(entry.intent.request_id) < end else late).append(entry)
        try:
            await self._write(in_days, late)
        except _NoPartition:
            await self._add_days({day_of(entry.intent.request_id) for entry in in_days})
            try:
                await self._write(in_days, late)
            except _NoPartition as error:
                # Its day was dropped between the two; by the next try it is late.
                raise DependencyUnavailable("A day of the ledger is missing. Try again shortly.") from error
        return ()

    async def _add_days(self, days: set[date]) -> None:
        async with self._database.platform() as session:
            made = await add_days(session, sorted(days))
        log.info("ledger_days_made", days=[str(day) for day in made])

    async def _write(self, in_days: Sequence[Settlement], late: Sequence[Settlement]) -> None:
        documents = [
            (statement, await _document(rows))
            for statement, rows in ((_INTO_DAYS, in_days), (_INTO_LATE, late))
            if rows
        ]
        async with self._database.raw_platform() as connection:
            try:
                # An acknowledged line is deleted from the journal: the commit must have reached the disk.
                await connection.execute("SET LOCAL synchronous_commit TO on")
                for statement, document in documents:
                    await connection.execute(statement, document)
            except asyncpg.DataError as error:
                raise ValueError(f"a settlement does not fit the ledger: {error}") from error
            except asyncpg.PostgresError as error:
                raise _named(error) from error


async def _document(settlements: Sequence[Settlement]) -> str:
    """The rows as one JSON array, made in slices so that no call waits for all of them."""
    slices = []
    for start in range(0, len(settlements), _SLICE):
        slices.append(rows_json(settlements[start : start + _SLICE])[1:-1])
        await asyncio.sleep(0)
    return f"[{','.join(slices)}]"


class _NoPartition(Exception):
    """There is no partition for the day of a row."""


def _named(error: asyncpg.PostgresError) -> Exception:
    state: Any = error.sqlstate or ""
    if isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name:
        return _NoPartition()
    if state.startswith(_DATA_FAULTS):
        return ValueError(f"a settlement does not fit the ledger: {error}")
    # Whatever else PostgreSQL complains of, the line stays in the journal until it does not any more.
    return DependencyUnavailable("The ledger cannot be written at the moment.")
