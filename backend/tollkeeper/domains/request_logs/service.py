"""Looking finished calls up: a page of them, and one with its attempts out of the ledger."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.errors import NotFound
from tollkeeper.core.money import format_usd
from tollkeeper.domains.request_logs import repository
from tollkeeper.domains.request_logs.schemas import Filters, Request, RequestAttempt, RequestDetail
from tollkeeper.domains.usage import service as usage

_US_OF_MS: Final = 1_000


async def list_calls(
    session: AsyncSession, filters: Filters, after: tuple[Any, ...] | None, limit: int
) -> Sequence[Request]:
    """Newest first; `after` is (request_id,) of the last one of the page before."""
    return [Request(**_shown(row)) for row in await repository.list_calls(session, filters, after, limit)]


async def get_call(session: AsyncSession, request_id: UUID, owner_id: UUID | None) -> RequestDetail:
    """`owner_id`: who may see the calls of their own keys alone."""
    row = await repository.find_call(session, request_id, owner_id)
    if row is None:
        raise NotFound("There is no such call, or you may not see it.")
    attempts = await usage.attempts_of(session, row["tenant_id"], request_id)
    billed = [
        RequestAttempt(
            **{name: value for name, value in attempt.items() if name != "charge_nano"},
            cost_usd=_usd(attempt["charge_nano"]),
        )
        for attempt in attempts
    ]
    return RequestDetail(**_shown(row), billed=billed)


def _shown(row: RowMapping) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if name not in {"day", "overhead_us", "charge_nano"}}
    return {**shown, "overhead_ms": row["overhead_us"] / _US_OF_MS, "cost_usd": _usd(row["charge_nano"])}


def _usd(nano: int | None) -> str | None:
    return None if nano is None else format_usd(nano)
