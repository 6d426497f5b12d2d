"""The SQL of usage: sums as `query` builds them, and keyset pages of the ledger."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.domains.usage import query
from tollkeeper.domains.usage.days import last_closed
from tollkeeper.domains.usage.rollup import SUMS
from tollkeeper.domains.usage.schemas import MAX_GROUPS, Attempt, Filters, Question

_PAGE: Final = """
    WITH page AS (
        SELECT DISTINCT created_at, request_id FROM usage_logs AS part
        WHERE {where}
        ORDER BY created_at DESC, request_id DESC
        LIMIT :limit
    )
    SELECT request_id, attempt, kind, api_key_id, user_id, team_id, project_id, end_user, run_id, tags, model, provider,
           {prompt} AS prompt_tokens, {completion} AS completion_tokens, charge_nano, latency_ms, status, is_estimated,
           created_at
    FROM usage_logs JOIN page USING (created_at, request_id)
    WHERE day >= CAST(:from_day AS date) AND day <= CAST(:to_day AS date)
    ORDER BY created_at DESC, request_id DESC, attempt, kind DESC
"""
# Where a call ended is where its last attempt did.
_IS_LAST: Final = """NOT EXISTS (
    SELECT FROM usage_logs AS later WHERE later.tenant_id = part.tenant_id AND later.day = part.day
    AND later.request_id = part.request_id AND later.attempt > part.attempt
)"""


_ATTEMPTS_OF: Final = f"""
    SELECT attempt, provider, upstream_model, status, http_status, error_code, {SUMS["prompt_tokens"]} AS prompt_tokens,
           {SUMS["completion_tokens"]} AS completion_tokens, charge_nano, latency_ms, first_token_ms,
           is_estimated AS estimated, upstream_request_id, is_correction
    FROM usage_logs
    WHERE tenant_id = CAST(:tenant_id AS uuid) AND day = CAST(:day AS date) AND request_id = CAST(:request_id AS uuid)
    ORDER BY attempt, is_correction
"""  # noqa: S608 - names of our own


async def list_attempts_of(session: AsyncSession, tenant_id: UUID, day: date, request_id: UUID) -> Sequence[RowMapping]:
    """The ledger's rows of one call; a correction comes after what it corrects."""
    params = {"tenant_id": tenant_id, "day": day, "request_id": request_id}
    return (await session.execute(text(_ATTEMPTS_OF), params)).mappings().all()


async def list_groups(session: AsyncSession, question: Question) -> list[dict[str, Any]]:
    """One more than `MAX_GROUPS` shows that there are more."""
    closed = await _last_closed(session, question)
    return await _read(session, query.build(question, last_closed=closed, limit=MAX_GROUPS + 1))


async def list_groups_after(
    session: AsyncSession, question: Question, after: Sequence[Any], limit: int
) -> list[dict[str, Any]]:
    closed = await _last_closed(session, question)
    return await _read(session, query.build(question, last_closed=closed, after=after, limit=limit))


async def _last_closed(session: AsyncSession, question: Question) -> date | None:
    return await last_closed(session, question.filters.tenant_id) if query.fits_days(question) else None


async def _read(session: AsyncSession, built: query.Query) -> list[dict[str, Any]]:
    rows = await session.execute(text(built.sql), built.params)
    return [dict(row) for row in rows.mappings()]


async def list_attempts(
    session: AsyncSession, filters: Filters, after: tuple[Any, ...] | None, limit: int
) -> Sequence[Attempt]:
    """Every ledger row of up to `limit` calls, newest call first; `after` is (created_at, request_id) of the last."""
    params: dict[str, Any] = {
        "since": filters.since,
        "until": filters.until,
        "from_day": filters.since.date(),
        "to_day": filters.until.date(),
        "limit": limit,
    }
    where = [
        "created_at >= CAST(:since AS timestamptz)",
        "created_at < CAST(:until AS timestamptz)",
        "day >= CAST(:from_day AS date)",
        "day <= CAST(:to_day AS date)",
        *query.conditions(filters, params),
        *query.row_conditions(filters, params),
    ]
    if filters.status is not None:
        where.append(_IS_LAST)
    if after is not None:
        where.append("(created_at, request_id) < (CAST(:after_at AS timestamptz), CAST(:after_id AS uuid))")
        params |= {"after_at": after[0], "after_id": after[1]}
    page = _PAGE.format(where=" AND ".join(where), prompt=SUMS["prompt_tokens"], completion=SUMS["completion_tokens"])
    return [Attempt(**row) for row in (await session.execute(text(page), params)).mappings()]
