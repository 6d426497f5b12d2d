"""Whether the rollups are what the ledger's rows add up to, and how to make them so again, day by day.

Shippers write a row and its part of a rollup in one transaction, so one statement sees both or neither, beside any
number of running gateways. A day whose rows were dropped cannot be told any more: its rollups are all that is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.errors import BadRequest
from tollkeeper.db.session import Database
from tollkeeper.domains.usage.partitions import list_days
from tollkeeper.domains.usage.rollup import COLUMNS, KEY, SUMS, select_from

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


class DayGone(BadRequest):
    """The rows of this day were dropped, so nothing can be made of them."""

    code = "day_gone"


@dataclass(frozen=True, slots=True)
class Verified:
    """One tenant's day. A drift is what the rollups say too much of, below zero too little."""

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
        return max(int(removed.rowcount), int(restored.rowcount))


async def list_verifiable(database: Database) -> Sequence[date]:
    """The days whose rows are there, oldest first."""
    async with database.platform() as session:
        return await list_days(session)


def _bounds(day: date) -> dict[str, Any]:
    start = datetime.combine(day, time(), UTC)
    return {"day": day, "start": start, "end": start + timedelta(days=1)}


async def _take_time(session: AsyncSession) -> None:
    await session.execute(text("SELECT set_config('statement_timeout', :ms, true)"), {"ms": _STATEMENT_MS})
