"""Tells once when a budget's spend passes one of its thresholds, in the transaction that carries it over.

Told for each threshold, window and subject, whatever becomes of the amount afterwards: `budget_spend.notified` keeps the
highest. Nothing is asked of the database unless something is passed.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.money import PLATFORM, Window, WindowKind, counter_ref
from tollkeeper.contracts.windows import previous
from tollkeeper.core.events import BudgetThresholdReached, emit
from tollkeeper.core.money import format_usd

_NOTE: Final = text("UPDATE budget_spend SET notified = :percent WHERE tenant_id = :tenant_id AND ref = :ref")
_SPENT: Final = text("SELECT spent_nano FROM budget_spend WHERE tenant_id = :tenant_id AND ref = :ref")
# Where what happens to the platform's own budgets is told.
_HOME: Final = text("SELECT tenant_id FROM members WHERE role = 'platform_admin' ORDER BY created_at, id LIMIT 1")


async def announce(session: AsyncSession, grown: Iterable[Any], now: datetime) -> None:
    """`grown`: rows as `spend.grow` gives them, still locked."""
    for row in grown:
        if row["thresholds"] is None or not passed(row, _amount(row, now)):
            continue
        # What the window before has left over is worth asking for only here.
        amount = _amount(row, now) + await _left_over(session, row)
        percents = passed(row, amount)
        told = await _told(session, row)
        if not percents or told is None:
            continue
        counter = {"tenant_id": row["tenant_id"], "ref": row["ref"]}
        await session.execute(_NOTE, {**counter, "percent": percents[-1]})
        for percent in percents:
            event = BudgetThresholdReached(
                budget_id=row["budget_id"],
                ref=row["ref"],
                window_start=row["window_start"],
                subject=row["subject"],
                percent=percent,
                spent_usd=format_usd(row["spent_nano"]),
                amount_usd=format_usd(amount),
            )
            await emit(session, told, event)


def passed(row: Any, amount_nano: int) -> Sequence[int]:
    """The thresholds that are reached and were not told of, lowest first."""
    spent = row["spent_nano"]
    return sorted(
        each for each in set(row["thresholds"]) if each > row["notified"] and spent * 100 >= each * amount_nano
    )


def _amount(row: Any, now: datetime) -> int:
    """A temporary increase is part of it while it lasts."""
    until: datetime | None = row["increase_until"]
    amount: int = row["amount_nano"]
    return amount + row["increase_nano"] if until is None or until > now else amount


async def _left_over(session: AsyncSession, row: Any) -> int:
    if not row["rolls_over"]:
        return 0
    start = int(row["window_start"].replace(tzinfo=row["window_start"].tzinfo or UTC).timestamp())
    window = Window(WindowKind(row["window_kind"]), row["time_zone"], row["anchor"], row["seconds"])
    before = previous(window, start)
    if before is None or start <= row["counts_from"]:
        return 0
    ref = counter_ref(row["budget_id"], before[0], row["subject"])
    spent = (await session.execute(_SPENT, {"tenant_id": row["tenant_id"], "ref": ref})).scalar_one_or_none() or 0
    return max(0, int(row["amount_nano"] - spent))


async def _told(session: AsyncSession, row: Any) -> UUID | None:
    """Whose subscribers hear of it; nobody where the platform has no administrator yet."""
    tenant_id: UUID | None = row["tenant_id"]
    if tenant_id != PLATFORM:
        return tenant_id
    home: UUID | None = (await session.execute(_HOME)).scalar_one_or_none()
    return home
