"""Sums of whole days, made of the hours' when a day is over, so that a month is some thirty rows a key and not seven hundred.

Every day up to the last one that has a sum is complete: shippers add what comes late to both (`shipping`), and days
are closed in order. Hours stay, so a reader may use any earlier last day and is right as well.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.clock import Clock
from tollkeeper.db.session import Database
from tollkeeper.domains.usage.rollup import DAY_COLUMNS, days_from_rollups

# What is settled after midnight still comes in for a while; closed later, it is added once and not twice.
_AFTER: Final = timedelta(hours=1)
_NEXT: Final = text("""
    SELECT min((hour AT TIME ZONE 'UTC')::date) FROM usage_rollups
    WHERE hour >= coalesce((SELECT max(day) + 1 FROM usage_days)::timestamp AT TIME ZONE 'UTC', '-infinity')
""")
_OPEN_UNTIL: Final = (
    "usage_rollups WHERE hour < CAST(:end AS timestamptz) "
    "AND hour >= coalesce((SELECT max(day) + 1 FROM usage_days)::timestamp AT TIME ZONE 'UTC', '-infinity')"
)
_CLOSE: Final = text(f"INSERT INTO usage_days ({', '.join(DAY_COLUMNS)}) {days_from_rollups(_OPEN_UNTIL)}")
_LAST: Final = "SELECT max(day) FROM usage_days"


async def close_days(database: Database, clock: Clock) -> list[date]:
    """Close the days that are over, each in a transaction of its own; which these were. Shippers wait for each a moment."""
    closed: list[date] = []
    while (day := await _close_next(database, (clock.now() - _AFTER).date())) is not None:
        closed.append(day)
    return closed


async def last_closed(session: AsyncSession, tenant_id: UUID | None) -> date | None:
    """Up to this day sums of days are complete; of one tenant it may be an earlier one."""
    where = "" if tenant_id is None else " WHERE tenant_id = :tenant_id"
    params = {} if tenant_id is None else {"tenant_id": tenant_id}
    last: date | None = (await session.execute(text(_LAST + where), params)).scalar()
    return last


async def _close_next(database: Database, today: date) -> date | None:
    async with database.platform() as session:
        # From here on nobody adds to a rollup, and whoever waits to do so sees afterwards that the day is closed.
        await session.execute(text("LOCK TABLE usage_rollups IN SHARE ROW EXCLUSIVE MODE"))
        day: date | None = (await session.execute(_NEXT)).scalar()
        if day is None or day >= today:
            return None
        await session.execute(_CLOSE, {"end": datetime.combine(day + timedelta(days=1), time(), UTC)})
        return day
