"""Writes settlements into the ledger, its rollups and what budgets have spent: one transaction, each row counted once.

Rollups and budgets grow by the rows that PostgreSQL says it inserted, so shipping a settlement again (a crash between
commit and acknowledgement, two shippers with the same line) changes nothing. An attempt that was put down as interrupted
and settles later gets a correction: the difference. Everything is locked in sorted order, which keeps concurrent
shippers out of deadlocks.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import asyncpg
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.money import Spend
from tollkeeper.contracts.usage import Settlement
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7_unix_ms
from tollkeeper.db.session import Database, driver_of
from tollkeeper.domains.usage import spend, thresholds
from tollkeeper.domains.usage.ledger_row import day_of, rows_json, unix_ms_of
from tollkeeper.domains.usage.partitions import add_days, oldest_kept_day
from tollkeeper.domains.usage.shipping import INTO_DAYS, INTO_DAYS_AGAIN, INTO_LATE

log = structlog.get_logger(__name__)

# A clock may be ahead of ours by this much; a day beyond it is no day to make a partition for.
DAYS_AHEAD: Final = 2
_SLICE: Final = 50
Sums = Counter[spend.Counter]

_DATA_FAULTS: Final = ("22", "23")


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
        named = spend.counters_of(settlements)
        batch = _Batch(len(in_days), await _document(in_days), await _document(late), named)
        try:
            return await self._write(batch)
        except _NoPartition:
            await self._add_days({day_of(entry.intent.request_id) for entry in in_days})
            try:
                return await self._write(batch)
            except _NoPartition as error:
                # Its day was dropped between the two; by the next try it is late.
                raise DependencyUnavailable("A day of the ledger is missing. Try again shortly.") from error

    async def _add_days(self, days: set[date]) -> None:
        async with self._database.platform() as session:
            made = await add_days(session, sorted(days))
        log.info("ledger_days_made", days=[str(day) for day in made])

    async def _write(self, batch: "_Batch") -> Sequence[Spend]:
        try:
            return await self._transact(batch, is_new=True)
        except _NotNew:
            return await self._transact(batch, is_new=False)

    async def _transact(self, batch: "_Batch", *, is_new: bool) -> Sequence[Spend]:
        try:
            async with self._database.platform() as session:
                connection = await driver_of(session)
                # An acknowledged line is deleted from the journal: the commit must have reached the disk.
                await connection.execute("SET LOCAL synchronous_commit TO on")
                sums: Sums = Counter()
                if batch.in_days is not None and is_new:
                    if await _insert(connection, INTO_DAYS, batch.in_days, sums) != batch.count:
                        raise _NotNew
                elif batch.in_days is not None:
                    await _insert_again(connection, INTO_DAYS_AGAIN, batch.in_days, sums)
                if batch.late is not None:
                    await _insert_again(connection, INTO_LATE, batch.late, sums)
                return await self._spend(session, connection, batch.named, sums)
        except asyncpg.DataError as error:
            raise ValueError(f"a settlement does not fit the ledger: {error}") from error
        except asyncpg.PostgresError as error:
            raise _named(error) from error
        except DBAPIError as error:
            raise DependencyUnavailable("The ledger cannot be written at the moment.") from error

    async def _spend(
        self,
        session: AsyncSession,
        connection: asyncpg.Connection,
        named: set[spend.Counter],
        sums: Sums,
    ) -> Sequence[Spend]:
        """Every counter that is named or changed, as it is at the end of this transaction."""
        spends: list[Spend] = []
        if changes := {counter: nano for counter, nano in sums.items() if nano}:
            grown = await spend.grow(connection, changes)
            await thresholds.announce(session, grown, self._clock.now())
            spends += [spend.spend_of(row) for row in grown]
        if unchanged := sorted(named.difference(changes)):
            spends += await spend.read(connection, unchanged)
        return spends


@dataclass(frozen=True, slots=True)
class _Batch:
    """`count` rows `in_days`, and rows for no day; None for none. `named` are the counters of all."""

    count: int
    in_days: str | None
    late: str | None
    named: set[spend.Counter]


async def _insert(connection: asyncpg.Connection, statement: str, document: str, sums: Sums) -> int:
    """How many rows were written; what they spent is added to `sums`."""
    count, *spent = await connection.fetch(statement, document)
    for row in spent:
        sums[row["tenant_id"], row["ref"]] += row["nano"]
    return int(count["nano"])


async def _insert_again(connection: asyncpg.Connection, statements: tuple[str, str], document: str, sums: Sums) -> None:
    rows, rest = statements
    await connection.execute(rows, document)
    await _insert(connection, rest, document, sums)


async def _document(settlements: Sequence[Settlement]) -> str | None:
    """The rows as one JSON array, made in slices so that no call waits for all of them. None without any."""
    if not settlements:
        return None
    slices = []
    for start in range(0, len(settlements), _SLICE):
        slices.append(rows_json(settlements[start : start + _SLICE])[1:-1])
        await asyncio.sleep(0)
    return f"[{','.join(slices)}]"


class _NotNew(Exception):
    """Some of the rows are there already; nothing of this transaction may be committed."""


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
