"""The days of the ledger, and which of them are gone: sums that are checked against rows have to know."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.days import DAYS_AHEAD, Days, become, oldest_kept_day

__all__ = [
    "DAYS_AHEAD",
    "add_days",
    "drop_expired",
    "dropped_through",
    "ensure_partitions",
    "list_days",
    "oldest_kept_day",
]

_DAYS: Final = Days("usage_logs", "create_usage_partition")
_PLATFORM: Final = "tk_platform"
_DROPPED: Final = "usage_dropped_through"
_NOTE_DROPPED: Final = text("""
    INSERT INTO system_state (key, value) VALUES (:key, to_jsonb(CAST(:day AS text)))
    ON CONFLICT (key) DO UPDATE SET value = greatest(system_state.value, excluded.value)
""")


async def ensure_partitions(session: AsyncSession, days_ahead: int = DAYS_AHEAD) -> list[date]:
    """Make the partitions of today and the days ahead that are missing; which these were."""
    return await _DAYS.ensure(session, days_ahead)


async def add_days(session: AsyncSession, days: Sequence[date]) -> list[date]:
    """Make the missing ones of `days`. Shippers and readers do not wait for it."""
    return await _DAYS.add(session, days)


async def drop_expired(session: AsyncSession, retention_days: int) -> list[date]:
    """Drop the days older than `retention_days`; which these were. Rollups stay."""
    role: str = (await session.execute(text("SELECT current_setting('role')"))).scalar_one()
    expired = await _DAYS.drop_expired(session, retention_days)
    if expired:
        # The owner sees no row.
        await become(session, _PLATFORM)
        await session.execute(_NOTE_DROPPED, {"key": _DROPPED, "day": str(expired[-1])})
        await become(session, role)
    return expired


async def dropped_through(session: AsyncSession) -> date | None:
    """The last day whose rows are known to be gone; None while none are."""
    day = (await session.execute(text("SELECT value FROM system_state WHERE key = :key"), {"key": _DROPPED})).scalar()
    return None if day is None else date.fromisoformat(day)


async def list_days(session: AsyncSession) -> list[date]:
    return list(await _DAYS.partitions(session))
