"""Whether the rollups are what the ledger's rows add up to, and the days what their hours do, and how to make them so
again, day by day.

Shippers write a row and its part of a rollup in one transaction, so one statement sees both or neither, beside any
number of running gateways. A day whose rows were dropped cannot be told any more: its rollups are all that is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.errors import BadRequest
from tollkeeper.db.session import Database
from tollkeeper.domains.usage.partitions import list_days
from tollkeeper.domains.usage.rollup import COLUMNS, DAY_COLUMNS, DAY_KEY, KEY, SUMS, days_from_rollups, select_from

# A day of millions of rows takes its time, and so does waiting for the shippers' turn.
_STATEMENT_MS: Final = "600000"
_SUMMED: Final = ("requests", "charge_nano", "cost_nano")
_ROWS: Final = (
    "(SELECT * FROM usage_logs WHERE day = :day UNION ALL SELECT * FROM usage_late WHERE day = :day) AS ledger"
)
_IN_DAY: Final = "rollup.hour >= :start AND rollup.hour < :end"
_SAME_KEY: Final = " AND ".join(f"truth.{name} = rollup.{name}" for name in KEY)
_SAME_SUMS: Final = " AND ".join(f"truth.{name} = rollup.{name}" for name in SUMS)
_DIFFERENT: Final = " OR ".join(f"coalesce(truth.{name}, 0) <> coalesce(rollup.{name}, 0)" for name in SUMS)
_TOTALS: Final = ", ".join(
    f"coalesce(sum(truth.{name}), 0)::bigint AS {name}, "
    f"coalesce(sum(rollup.{name}), 0)::bigint - coalesce(sum(truth.{name}), 0)::bigint AS {name}_drift"
    for name in _SUMMED
)
_COMPARE: Final = f"""
    SELECT coalesce(truth.tenant_id, rollup.tenant_id) AS tenant_id, {_TOTALS},
           count(*) FILTER (WHERE {_DIFFERENT}) AS wrong_rollups
    FROM ({select_from(_ROWS)}) AS truth
    FULL JOIN (SELECT * FROM usage_rollups AS rollup WHERE {_IN_DAY}) AS rollup ON {_SAME_KEY}
    GROUP BY 1 ORDER BY 1
"""  # noqa: S608 - names of our own
_REMOVE: Final = f"""
    DELETE FROM usage_rollups AS rollup WHERE {_IN_DAY}
    AND NOT EXISTS (SELECT FROM ({select_from(_ROWS)}) AS truth WHERE {_SAME_KEY} AND {_SAME_SUMS})
"""  # noqa: S608 - as above
_RESTORE: Final = f"""
    INSERT INTO usage_rollups ({", ".join(COLUMNS)}) {select_from(_ROWS)} ON CONFLICT ({", ".join(KEY)}) DO NOTHING
"""
_IN_HOURS: Final = f"usage_rollups AS rollup WHERE {_IN_DAY} AND :day <= (SELECT max(day) FROM usage_days)"  # noqa: S608
_SAME_DAY: Final = " AND ".join(f"truth.{name} = rollup.{name}" for name in DAY_KEY)
_COMPARE_DAYS: Final = f"""
    SELECT coalesce(truth.tenant_id, rollup.tenant_id) AS tenant_id, count(*) AS wrong
    FROM ({days_from_rollups(_IN_HOURS)}) AS truth
    FULL JOIN (SELECT * FROM usage_days AS rollup WHERE day = :day) AS rollup ON {_SAME_DAY}
    WHERE {_DIFFERENT} GROUP BY 1
"""  # noqa: S608 - as above
# Whether the day is closed is asked before its sums are removed: they may be the last.
_CLOSED: Final = "SELECT :day <= (SELECT max(day) FROM usage_days)"
_REMOVE_DAY: Final = "DELETE FROM usage_days WHERE day = :day"
_RESTORE_DAY: Final = f"""
    INSERT INTO usage_days ({", ".join(DAY_COLUMNS)}) {days_from_rollups(f"usage_rollups AS rollup WHERE {_IN_DAY}")}
"""


class DayGone(BadRequest):
    """The rows of this day were dropped, so nothing can be made of them."""

    code = "day_gone"


@dataclass(frozen=True, slots=True)
class Verified:
    """One tenant's day. A drift is what the rollups say too much of, below zero too little.

    `wrong_rollups` are hours, and sums of the day once it is over.
    """

    day: date
    tenant_id: UUID
    requests: int
    requests_drift: int
    charge_nano: int
    charge_nano_drift: int
    cost_nano: int
    cost_nano_drift: int
    wrong_rollups: int

    @property
    def is_right(self) -> bool:
        return self.wrong_rollups == 0


async def verify_day(database: Database, day: date) -> list[Verified]:
    """One entry per tenant that has rows or rollups of the day; [] as well where the day's rows are gone."""
    async with database.platform() as session:
        await _take_time(session)
        rows = [Verified(day=day, **row) for row in (await session.execute(text(_COMPARE), _bounds(day))).mappings()]
        wrong = await _wrong_days(session, day)
        rows = [replace(row, wrong_rollups=row.wrong_rollups + wrong.pop(row.tenant_id, 0)) for row in rows]
        rows += [Verified(day, tenant_id, 0, 0, 0, 0, 0, 0, count) for tenant_id, count in wrong.items()]
        # It may have been dropped meanwhile.
        return rows if day in await list_days(session) else []


async def rebuild_day(database: Database, day: date) -> int:
    """Make a day's rollups what its rows add up to, in one transaction; how many were wrong or missing.

    Shippers wait for it; what they hold is added to the right sums afterwards. Raises `DayGone`.
    """
    async with database.platform() as session:
        await _take_time(session)
        # From here on nobody adds to a rollup. The statements below see every row whose rollup was written before.
        await session.execute(text("LOCK TABLE usage_rollups IN SHARE ROW EXCLUSIVE MODE"))
        if day not in await list_days(session):
            raise DayGone(f"The calls of {day} are no longer kept, so its sums cannot be made again.")
        removed: Any = await session.execute(text(_REMOVE), _bounds(day))
        restored: Any = await session.execute(text(_RESTORE), _bounds(day))
        wrong = sum((await _wrong_days(session, day)).values())
        if wrong and (await session.execute(text(_CLOSED), {"day": day})).scalar_one():
            await session.execute(text(_REMOVE_DAY), {"day": day})
            await session.execute(text(_RESTORE_DAY), _bounds(day))
        return max(int(removed.rowcount), int(restored.rowcount)) + wrong


async def list_verifiable(database: Database) -> Sequence[date]:
    """The days whose rows are there, oldest first."""
    async with database.platform() as session:
        return await list_days(session)


async def _wrong_days(session: AsyncSession, day: date) -> dict[UUID, int]:
    """How many sums of a closed day are not those of its hours, by tenant."""
    return {row.tenant_id: row.wrong for row in await session.execute(text(_COMPARE_DAYS), _bounds(day))}


def _bounds(day: date) -> dict[str, Any]:
    start = datetime.combine(day, time(), UTC)
    return {"day": day, "start": start, "end": start + timedelta(days=1)}


async def _take_time(session: AsyncSession) -> None:
    await session.execute(text("SELECT set_config('statement_timeout', :ms, true)"), {"ms": _STATEMENT_MS})
