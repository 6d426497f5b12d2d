"""Tables that are cut into days: a partition each, made ahead and dropped when it has expired. Rows are never deleted."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

DAYS_AHEAD: Final = 7
# Any constant of our own: one process makes or drops days at a time.
_LOCK: Final = 7_365_410_931
_OWNER: Final = "tk_owner"
_FROM: Final = re.compile(r"FROM \('(\d{4}-\d\d-\d\d)'\)")


@dataclass(frozen=True, slots=True)
class Days:
    """`function` makes the partition of a day, as a migration of the table has it."""

    table: str
    function: str

    async def ensure(self, session: AsyncSession, days_ahead: int = DAYS_AHEAD) -> list[date]:
        """Make the partitions of today and the days ahead that are missing; which these were."""
        today = await _today(session)
        return await self.add(session, [today + timedelta(days=offset) for offset in range(days_ahead + 1)])

    async def add(self, session: AsyncSession, days: Sequence[date]) -> list[date]:
        """Make the missing ones of `days`. Writers and readers do not wait for it."""
        role = await _become_owner(session)
        existing = await self.partitions(session)
        missing = [day for day in days if day not in existing]
        for day in missing:
            await session.execute(text(f"SELECT {self.function}(:day)"), {"day": day})
        await become(session, role)
        return missing

    async def drop_expired(self, session: AsyncSession, retention_days: int) -> list[date]:
        """Drop the days older than `retention_days`; which these were."""
        role = await _become_owner(session)
        oldest = oldest_kept_day(await _today(session), retention_days)
        partitions = await self.partitions(session)
        expired = [day for day in partitions if day < oldest]
        for day in expired:
            await session.execute(text(f"DROP TABLE {partitions[day]}"))
        await become(session, role)
        return expired

    async def partitions(self, session: AsyncSession) -> dict[date, str]:
        """Day → the table's quoted name, oldest first. The day is in the bounds; a name is only a name."""
        rows = await session.execute(
            text("""
                SELECT inhrelid::regclass::text AS name, pg_get_expr(relpartbound, inhrelid) AS bounds
                FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                WHERE inhparent = CAST(:table AS text)::regclass
            """),
            {"table": self.table},
        )
        found = [(_FROM.search(row.bounds), row.name) for row in rows]
        return dict(sorted((date.fromisoformat(match[1]), name) for match, name in found if match))


def oldest_kept_day(today: date, retention_days: int) -> date:
    return today - timedelta(days=retention_days)


async def become(session: AsyncSession, role: str) -> None:
    """For the rest of the transaction."""
    await session.execute(text("SELECT set_config('role', :role, true)"), {"role": role})


async def _today(session: AsyncSession) -> date:
    today: date = (await session.execute(text("SELECT (now() AT TIME ZONE 'UTC')::date"))).scalar_one()
    return today


async def _become_owner(session: AsyncSession) -> str:
    """Only the tables' owner may make and drop partitions. The role before, to go back to."""
    role: str = (await session.execute(text("SELECT current_setting('role')"))).scalar_one()
    await become(session, _OWNER)
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    return role
