"""The SQL of the cache's explorer: hits by the ledger, misses by the request log."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.domains.usage.service import SUMS

_WHERE: Final = """
    tenant_id = CAST(:tenant_id AS uuid)
    AND day BETWEEN CAST(:from_day AS date) AND CAST(:to_day AS date)
    AND created_at >= CAST(:since AS timestamptz) AND created_at < CAST(:until AS timestamptz)
"""
# A tag's name that callers give has no colon.
_HITS: Final = f"""
    SELECT model,
           count(*) FILTER (WHERE result = 'exact') AS exact,
           count(*) FILTER (WHERE result = 'coalesced') AS coalesced,
           count(*) FILTER (WHERE result = 'semantic') AS semantic,
           coalesce(sum(saved), 0) AS saved_nano,
           coalesce(sum(prompt) FILTER (WHERE status = 'cached'), 0) AS prompt_tokens,
           coalesce(sum(completion) FILTER (WHERE status = 'cached'), 0) AS completion_tokens
    FROM (
        SELECT model, status, tags ->> 'tollkeeper:cache' AS result,
               CAST(substring(tags ->> 'tollkeeper:saved_nano' FROM '^[0-9]+$') AS numeric) AS saved,
               {SUMS["prompt_tokens"]} AS prompt, {SUMS["completion_tokens"]} AS completion
        FROM usage_logs
        WHERE {_WHERE} AND kind <> 'correction' AND tags ->> 'tollkeeper:cache' IS NOT NULL
    ) AS hits
    GROUP BY model
"""  # noqa: S608 - names of our own
_MISSES: Final = f"""
    SELECT coalesce(model, '') AS model,
           count(*) FILTER (WHERE cache = 'miss') AS misses,
           count(*) FILTER (WHERE cache = 'bypass') AS bypassed
    FROM request_logs
    WHERE {_WHERE} AND cache IN ('miss', 'bypass')
    GROUP BY 1
"""  # noqa: S608 - names of our own


async def list_hits(session: AsyncSession, tenant_id: UUID, since: datetime, until: datetime) -> Sequence[RowMapping]:
    """By model, as callers name it."""
    return await _read(session, _HITS, tenant_id, since, until)


async def list_misses(session: AsyncSession, tenant_id: UUID, since: datetime, until: datetime) -> Sequence[RowMapping]:
    return await _read(session, _MISSES, tenant_id, since, until)


async def _read(
    session: AsyncSession, sql: str, tenant_id: UUID, since: datetime, until: datetime
) -> Sequence[RowMapping]:
    params: dict[str, Any] = {
        "tenant_id": tenant_id,
        "since": since,
        "until": until,
        "from_day": since.astimezone(UTC).date(),
        "to_day": until.astimezone(UTC).date(),
    }
    return (await session.execute(text(sql), params)).mappings().all()
