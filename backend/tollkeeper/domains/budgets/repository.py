"""What counters have spent, as the ledger has it: for budgets that are younger than their window, and for their status."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.money import PLATFORM
from tollkeeper.db.models import BudgetSpend
from tollkeeper.db.roles import PLATFORM as PLATFORM_ROLE

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LEDGER: Final = "(SELECT * FROM usage_logs WHERE {0} UNION ALL SELECT * FROM usage_late WHERE {0}) AS ledger"


@asynccontextmanager
async def as_platform(session: AsyncSession) -> AsyncIterator[None]:
    """Write the ledger's figures, which no tenant writes, in the transaction of the tenant's change."""
    former = await session.scalar(text("SELECT current_setting('role')"))
    await session.execute(text("SELECT set_config('role', :role, true)"), {"role": PLATFORM_ROLE})
    yield
    # After a fault the transaction is lost, and with it the role.
    await session.execute(text("SELECT set_config('role', :role, true)"), {"role": former})


async def spent_by(
    session: AsyncSession, tenant_id: UUID | None, group: str, since: datetime, where: str, params: Mapping[str, Any]
) -> Sequence[tuple[str, str, int]]:
    """(group, model, nano) since a moment; charges of a tenant, costs over all tenants.

    `group` and `where` are SQL of our own. Whole hours come from the rollups, unless a row alone can tell.
    """
    amount = "charge_nano" if tenant_id is not None else "cost_nano"
    own = "true" if tenant_id is None else "tenant_id = :tenant_id"
    hour = -(-since.timestamp() // _HOUR.total_seconds()) * _HOUR.total_seconds()
    whole = datetime.fromtimestamp(hour, tz=UTC)
    needs_rows = "tags" in f"{group} {where}" or "end_user" in f"{group} {where}"
    period = "day >= :day AND created_at >= :since" + ("" if needs_rows else " AND created_at < :whole")
    rows = _LEDGER.format(f"{own} AND {period}")
    parts = [f"SELECT {group} AS value, model, {amount} AS nano FROM {rows} WHERE {where}"]  # noqa: S608 - as above
    if not needs_rows:
        parts.append(
            f"SELECT {group} AS value, model, {amount} AS nano FROM usage_rollups "  # noqa: S608 - as above
            f"WHERE {own} AND hour >= :whole AND {where}"
        )
    query = f"SELECT value::text, model, coalesce(sum(nano), 0)::bigint FROM ({' UNION ALL '.join(parts)}) AS spent GROUP BY 1, 2"  # noqa: S608 - as above
    values: dict[str, Any] = {**params, "since": since, "day": _first_day(since)}
    if tenant_id is not None:
        values["tenant_id"] = tenant_id
    if not needs_rows:
        values["whole"] = whole
    return [(value or "", model, nano) for value, model, nano in await session.execute(text(query), values)]


async def spent_in_ledger(session: AsyncSession, tenant_id: UUID | None, ref: str) -> int:
    query = select(BudgetSpend.spent_nano).where(
        BudgetSpend.tenant_id == (tenant_id or PLATFORM), BudgetSpend.ref == ref
    )
    return await session.scalar(query) or 0


async def subjects_of(
    session: AsyncSession, tenant_id: UUID | None, budget_id: UUID, window_start: int, *, limit: int
) -> Sequence[tuple[str, int]]:
    """The dearest subjects of a window."""
    query = (
        select(BudgetSpend.subject, BudgetSpend.spent_nano)
        .where(*_of_window(tenant_id, budget_id, window_start))
        .order_by(BudgetSpend.spent_nano.desc(), BudgetSpend.subject)
        .limit(limit)
    )
    return [(subject, nano) for subject, nano in await session.execute(query)]


async def sum_of_window(session: AsyncSession, tenant_id: UUID | None, budget_id: UUID, window_start: int) -> int:
    query = select(func.coalesce(func.sum(BudgetSpend.spent_nano), 0)).where(
        *_of_window(tenant_id, budget_id, window_start)
    )
    return int(await session.scalar(query) or 0)


async def spent_lately(
    session: AsyncSession, tenant_id: UUID | None, budget_id: UUID, refs: Sequence[str], now: datetime
) -> int:
    """Nano-dollars of the last hour that the ledger's rows have put on these counters; without any: on the whole budget."""
    is_platform = tenant_id is None
    marked = [f"@{ref}" if is_platform else ref for ref in refs]
    is_counted = (
        "budgets && CAST(:refs AS text[])"
        if refs
        else "EXISTS (SELECT FROM unnest(budgets) AS one WHERE one LIKE :prefix)"
    )
    own = "true" if is_platform else "tenant_id = :tenant_id"
    amount = "cost_nano" if is_platform else "charge_nano"
    statement = text(
        f"SELECT coalesce(sum({amount}), 0)::bigint FROM usage_logs "  # noqa: S608 - names of our own
        f"WHERE {own} AND created_at > :since AND created_at <= :now AND day >= :day AND {is_counted}"
    )
    since = now - _HOUR
    values: dict[str, Any] = {"since": since, "now": now, "day": _first_day(since)}
    if refs:
        values["refs"] = marked
    else:
        values["prefix"] = f"{'@' if is_platform else ''}{budget_id.hex}:%"
    if not is_platform:
        values["tenant_id"] = tenant_id
    return int(await session.scalar(statement, values) or 0)


def _first_day(since: datetime) -> date:
    """A row's day is its request's; the call may have ended in the next."""
    return max(since, _EPOCH + _DAY).astimezone(UTC).date() - _DAY


def _of_window(tenant_id: UUID | None, budget_id: UUID, window_start: int) -> tuple[Any, ...]:
    return (
        BudgetSpend.tenant_id == (tenant_id or PLATFORM),
        BudgetSpend.budget_id == budget_id,
        BudgetSpend.window_start == datetime.fromtimestamp(window_start, tz=UTC),
    )
