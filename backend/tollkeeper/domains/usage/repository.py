"""The SQL of usage: one query builder over the rollups for every grouping, and keyset pages of the ledger."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models.usage import UsageLog, UsageRollup
from tollkeeper.domains.usage.ledger_row import NO_USER
from tollkeeper.domains.usage.schemas import FIELDS, MAX_GROUPS, Attempt, Filters, GroupBy

SUMMED: Final = (
    "requests",
    "errors",
    "prompt_tokens",
    "completion_tokens",
    "cache_read_tokens",
    "charge_nano",
    "latency_ms_sum",
    "unpriced_requests",
)
_PROMPT: Final = (
    UsageLog.input_tokens
    + UsageLog.cache_read_tokens
    + UsageLog.cache_write_tokens
    + UsageLog.cache_write_1h_tokens
    + UsageLog.input_audio_tokens
    + UsageLog.input_image_tokens
)
_COMPLETION: Final = (
    UsageLog.output_tokens + UsageLog.reasoning_tokens + UsageLog.output_audio_tokens + UsageLog.output_image_tokens
)


def grouped(filters: Filters, group_by: Sequence[GroupBy]) -> Select[Any]:
    """Sums of the rollups; without `group_by` one row. Times first and in order, else the dearest first."""
    names = [FIELDS[word] for word in group_by]
    columns = [_group_column(word).label(name) for word, name in zip(group_by, names, strict=True)]
    sums = [func.coalesce(func.sum(getattr(UsageRollup, name)), 0).label(name) for name in SUMMED]
    times = [text(name) for name in names if name in {"day", "hour"}]
    query = select(*columns, *sums).where(*_in_rollups(filters)).limit(MAX_GROUPS + 1)
    if columns:
        query = query.group_by(*[text(name) for name in names])
        query = query.order_by(*times, text("charge_nano DESC"), text("requests DESC"), *[text(name) for name in names])
    return query


async def list_groups(session: AsyncSession, filters: Filters, group_by: Sequence[GroupBy]) -> list[dict[str, Any]]:
    rows = await session.execute(grouped(filters, group_by))
    return [dict(row) for row in rows.mappings()]


async def list_attempts(
    session: AsyncSession, filters: Filters, after: tuple[Any, ...] | None, limit: int
) -> Sequence[Attempt]:
    """Every ledger row of up to `limit` calls, newest call first; `after` is (created_at, request_id) of the last."""
    call = (UsageLog.created_at, UsageLog.request_id)
    conditions = _in_ledger(filters)
    if after is not None:
        conditions.append(tuple_(*call) < after)
    page = (
        select(*call)
        .where(*conditions)
        .distinct()
        .order_by(UsageLog.created_at.desc(), UsageLog.request_id.desc())
        .limit(limit)
        .cte("page")
    )
    days = _days(filters)
    query = (
        select(
            UsageLog.request_id,
            UsageLog.attempt,
            UsageLog.kind,
            UsageLog.api_key_id,
            UsageLog.user_id,
            UsageLog.model,
            UsageLog.provider,
            _PROMPT.label("prompt_tokens"),
            _COMPLETION.label("completion_tokens"),
            UsageLog.charge_nano,
            UsageLog.latency_ms,
            UsageLog.status,
            UsageLog.is_estimated,
            UsageLog.created_at,
        )
        .join(page, and_(page.c.created_at == UsageLog.created_at, page.c.request_id == UsageLog.request_id))
        .where(*days)
        .order_by(UsageLog.created_at.desc(), UsageLog.request_id.desc(), UsageLog.attempt, UsageLog.kind.desc())
    )
    return [Attempt(**row) for row in (await session.execute(query)).mappings()]


def _group_column(word: GroupBy) -> ColumnElement[Any]:
    match word:
        case GroupBy.DAY:
            return func.date_trunc("day", UsageRollup.hour, "UTC")
        case GroupBy.USER:
            return func.nullif(UsageRollup.user_id, NO_USER)
        case _:
            column: ColumnElement[Any] = getattr(UsageRollup, FIELDS[word])
            return column


def _in_rollups(filters: Filters) -> list[ColumnElement[bool]]:
    """A rollup is an hour: the hour that `since` falls into counts whole."""
    conditions = [
        UsageRollup.hour >= func.date_trunc("hour", filters.since, "UTC"),
        UsageRollup.hour < filters.until,
    ]
    return conditions + _same(UsageRollup, filters)


def _in_ledger(filters: Filters) -> list[ColumnElement[bool]]:
    conditions = [UsageLog.created_at >= filters.since, UsageLog.created_at < filters.until, *_days(filters)]
    if filters.status is not None:
        conditions.append(UsageLog.status == filters.status.value)
    return conditions + _same(UsageLog, filters)


def _days(filters: Filters) -> list[ColumnElement[bool]]:
    """So that other days' partitions are not even opened."""
    return [UsageLog.day >= filters.since.date(), UsageLog.day <= filters.until.date()]


def _same(table: type[UsageLog | UsageRollup], filters: Filters) -> list[ColumnElement[bool]]:
    wanted: dict[str, UUID | str | None] = {
        "tenant_id": filters.tenant_id,
        "api_key_id": filters.api_key_id,
        "user_id": filters.user_id,
        "model": filters.model,
        "provider": filters.provider,
    }
    conditions = [getattr(table, name) == value for name, value in wanted.items() if value is not None]
    if filters.owner_id is not None:
        conditions.append(table.user_id == filters.owner_id)
    return conditions
