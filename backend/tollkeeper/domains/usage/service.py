"""Usage as people ask for it: sums by whatever they name, and one record per call."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.usage import CallStatus, LedgerKind
from tollkeeper.core.money import format_usd
from tollkeeper.domains.usage import repository
from tollkeeper.domains.usage.schemas import (
    FIELDS,
    MAX_GROUPS,
    Attempt,
    Filters,
    GroupBy,
    UsageGroup,
    UsageRecord,
    UsageReport,
    UsageSums,
)


async def report(session: AsyncSession, filters: Filters, group_by: Sequence[GroupBy]) -> UsageReport:
    """The groups and their total, both from the rollups as they were at one moment."""
    rows = await repository.list_groups(session, filters, group_by)
    is_truncated = len(rows) > MAX_GROUPS
    groups = [
        UsageGroup(**_sums(row), **{FIELDS[word]: row[FIELDS[word]] for word in group_by}) for row in rows[:MAX_GROUPS]
    ]
    if is_truncated:
        (total,) = await repository.list_groups(session, filters, ())
    else:
        total = {name: sum(row[name] for row in rows) for name in repository.SUMMED}
    return UsageReport(
        data=groups,
        totals=UsageSums(**_sums(total)),
        is_truncated=is_truncated,
        since=filters.since,
        until=filters.until,
    )


async def list_records(
    session: AsyncSession, filters: Filters, after: tuple[Any, ...] | None, limit: int
) -> list[UsageRecord]:
    """Newest first; `after` is (created_at, request_id) of the last record of the page before."""
    return list(fold(await repository.list_attempts(session, filters, after, limit)))


def fold(attempts: Iterable[Attempt]) -> Iterable[UsageRecord]:
    """One record per call from its rows, which stand together and in the order of attempts.

    Where the call ended is told by its last attempt; tokens, money and time are sums. A correction carries the
    difference to what was put down before, so it is a part of the sums, and what it corrected is no estimate any more.
    """
    for _, rows in groupby(attempts, key=lambda attempt: attempt.request_id):
        parts = list(rows)
        billed = [part for part in parts if part.kind != LedgerKind.CORRECTION] or parts
        last = billed[-1]
        charges = [part.charge_nano for part in parts if part.charge_nano is not None]
        corrected = {part.attempt for part in parts if part.kind == LedgerKind.CORRECTION}
        yield UsageRecord(
            request_id=last.request_id,
            api_key_id=last.api_key_id,
            user_id=last.user_id,
            model=last.model,
            provider=last.provider,
            prompt_tokens=sum(part.prompt_tokens for part in parts),
            completion_tokens=sum(part.completion_tokens for part in parts),
            cost_usd=format_usd(sum(charges)) if charges else None,
            latency_ms=sum(part.latency_ms for part in billed),
            status=CallStatus(last.status),
            estimated=any(part.is_estimated and part.attempt not in corrected for part in billed),
            created_at=last.created_at,
        )


def _sums(row: Mapping[str, Any]) -> dict[str, Any]:
    requests = row["requests"]
    return {
        "requests": requests,
        "errors": row["errors"],
        "prompt_tokens": row["prompt_tokens"],
        "completion_tokens": row["completion_tokens"],
        "total_tokens": row["prompt_tokens"] + row["completion_tokens"],
        "cache_read_tokens": row["cache_read_tokens"],
        "cost_usd": format_usd(int(row["charge_nano"])),
        "unpriced_requests": row["unpriced_requests"],
        "average_latency_ms": int(row["latency_ms_sum"] / requests) if requests else 0,
    }
