"""The days of the ledger: a partition each, made ahead and dropped when it has expired. Rows are never deleted."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

DAYS_AHEAD: Final = 7
# Any constant of our own: one process makes or drops days at a time.
_LOCK: Final = 7_365_410_931
_OWNER: Final = "tk_owner"
_PLATFORM: Final = "tk_platform"
_DROPPED: Final = "usage_dropped_through"
_NOTE_DROPPED: Final = text("""
    INSERT INTO system_state (key, value) VALUES (:key, to_jsonb(CAST(:day AS text)))
    ON CONFLICT (key) DO UPDATE SET value = greatest(system_state.value, excluded.value)
""")
_FROM: Final = re.compile(r"FROM \('(\d{4}-\d\d-\d\d)'\)")


async def ensure_partitions(session: AsyncSession, days_ahead: int = DAYS_AHEAD) -> list[date]:
    """Make the partitions of today and the days ahead that are missing; which these were."""
    today = await _today(session)
    return await add_days(session, [today + timedelta(days=offset) for offset in range(days_ahead + 1)])


async def add_days(session: AsyncSession, days: Sequence[date]) -> list[date]:
    """Make the missing ones of `days`. Shippers and readers do not wait for it."""
    role = await _become_owner(session)
    existing = set(await list_days(session))
    missing = [day for day in days if day not in existing]
    for day in missing:
        await session.execute(text("SELECT create_usage_partition(:day)"), {"day": day})
    await _become(session, role)
    return missing


async def drop_expired(session: AsyncSession, retention_days: int) -> list[date]:
    """Drop the days older than `retention_days`; which these were. Rollups stay."""
    role = await _become_owner(session)
    oldest = oldest_kept_day(await _today(session), retention_days)
    partitions = await _partitions(session)
    expired = [day for day in partitions if day < oldest]
    for day in expired:
        await session.execute(text(f"DROP TABLE {partitions[day]}"))
    if expired:
        # The owner sees no row.
        await _become(session, _PLATFORM)
        await session.execute(_NOTE_DROPPED, {"key": _DROPPED, "day": str(expired[-1])})
    await _become(session, role)
    return expired


async def dropped_through(session: AsyncSession) -> date | None:
    """The last day whose rows are known to be gone; None while none are."""
    day = (await session.execute(text("SELECT value FROM system_state WHERE key = :key"), {"key": _DROPPED})).scalar()
    return None if day is None else date.fromisoformat(day)


async def list_days(session: AsyncSession) -> list[date]:
    return list(await _partitions(session))


async def _partitions(session: AsyncSession) -> dict[date, str]:
    """Day → the table's quoted name, oldest first. The day is in the bounds; a name is only a name."""
    rows = await session.execute(
        text("""
            SELECT inhrelid::regclass::text AS name, pg_get_expr(relpartbound, inhrelid) AS bounds
            FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = 'usage_logs'::regclass
        """)
    )
    found = [(_FROM.search(row.bounds), row.name) for row in rows]
    return dict(sorted((date.fromisoformat(match[1]), name) for match, name in found if match))


def oldest_kept_day(today: date, retention_days: int) -> date:
    """What lies before it goes to `usage_late`, because its partition may be gone."""
    return today - timedelta(days=retention_days)


async def _today(session: AsyncSession) -> date:
    today: date = (await session.execute(text("SELECT (now() AT TIME ZONE 'UTC')::date"))).scalar_one()
    return today


async def _become_owner(session: AsyncSession) -> str:
    """Only the tables' owner may make and drop partitions. The role before, to go back to."""
    role: str = (await session.execute(text("SELECT current_setting('role')"))).scalar_one()
    await _become(session, _OWNER)
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    return role


async def _become(session: AsyncSession, role: str) -> None:
    await session.execute(text("SELECT set_config('role', :role, true)"), {"role": role})
