"""Usage as people ask for it: sums by whatever they name, and one record per call."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import format_id
from tollkeeper.core.money import format_usd
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.usage import repository
from tollkeeper.domains.usage.ledger_row import day_of
from tollkeeper.domains.usage.partitions import oldest_kept_day
from tollkeeper.domains.usage.query import needs_rows, value_of
from tollkeeper.domains.usage.rollup import SUMS
from tollkeeper.domains.usage.schemas import (
    FIELDS,
    MAX_GROUPS,
    TAG,
    Attempt,
    Filters,
    Question,
    UsageGroup,
    UsageRecord,
    UsageReport,
    UsageSums,
)
from tollkeeper.domains.usage.spend import backfill
from tollkeeper.web.caller import Caller

__all__ = ["SUMS", "backfill"]

# A question that reads every call one by one is a long one.
MAX_ROW_DAYS: Final = 93


class PeriodTooLong(BadRequest):
    """The calls themselves would be read, over too long a time or where they are not kept any more."""

    code = "period_too_long"


def check_period(question: Question, now: datetime, retention_days: int) -> None:
    """Raises `PeriodTooLong`; sums that the rollups know are never refused."""
    if not needs_rows(question):
        return
    filters = question.filters
    what = "Tags, end users, runs, percentiles and days of zones between hours are read from each call"
    if filters.until - filters.since > timedelta(days=MAX_ROW_DAYS):
        raise PeriodTooLong(f"{what}: ask for {MAX_ROW_DAYS} days at most.", param="from")
    check_kept(filters, now, retention_days)


def check_kept(filters: Filters, now: datetime, retention_days: int) -> None:
    """Raises `PeriodTooLong` where the calls of the first days are gone: half of them is not what was asked for."""
    oldest = oldest_kept_day(now.date(), retention_days)
    if filters.since.date() < oldest:
        raise PeriodTooLong(f"Single calls are kept since {oldest}: begin there.", param="from")


async def note_export(session: AsyncSession, caller: Caller, question: Question, form: str) -> None:
    """That usage was taken out, and what of it, is in the audit trail of the tenant it belongs to."""
    filters = question.filters
    tenant_id = filters.tenant_id or caller.tenant_id
    given = {
        field.name: str(value) if not isinstance(value, tuple) else [str(each) for each in value]
        for field in fields(filters)
        if (value := getattr(filters, field.name))
    }
    after = {"format": form, "group_by": list(question.group_by), "zone": question.zone, "filter": given}
    tenant = format_id("ten", tenant_id) if filters.tenant_id else "all"
    await audit.record(session, caller, "usage.export", "tenant", tenant, None, after, tenant_id=tenant_id)


async def report(session: AsyncSession, question: Question, *, with_provider_cost: bool) -> UsageReport:
    """The groups and their total."""
    rows = await repository.list_groups(session, question)
    is_truncated = len(rows) > MAX_GROUPS
    if is_truncated or question.with_percentiles:
        # Percentiles do not add up.
        (total,) = await repository.list_groups(session, _ungrouped(question))
    else:
        total = {name: sum(row[name] for row in rows) for name in SUMS}
    return UsageReport(
        data=[group(question, row, with_provider_cost=with_provider_cost) for row in rows[:MAX_GROUPS]],
        totals=UsageSums(**sums(total, with_provider_cost=with_provider_cost)),
        is_truncated=is_truncated,
        since=question.filters.since,
        until=question.filters.until,
        zone=question.zone,
    )


def group(question: Question, row: Mapping[str, Any], *, with_provider_cost: bool) -> UsageGroup:
    named: dict[str, Any] = {}
    for place, word in enumerate(question.group_by):
        value = value_of(word, row[f"group_{place}"])
        if word.startswith(TAG):
            named.setdefault("tags", {})[word.removeprefix(TAG)] = value
        else:
            named[FIELDS[word]] = value
    return UsageGroup(**sums(row, with_provider_cost=with_provider_cost), **named)


def sums(row: Mapping[str, Any], *, with_provider_cost: bool) -> dict[str, Any]:
    """The fields of `UsageSums` from the sums of rollups."""
    requests, prompt, completion = row["requests"], row["prompt_tokens"], row["completion_tokens"]
    inputs = {
        name: row[name]
        for name in (
            "cache_read_tokens",
            "cache_write_tokens",
            "cache_write_1h_tokens",
            "input_audio_tokens",
            "input_image_tokens",
        )
    }
    outputs = {name: row[name] for name in ("reasoning_tokens", "output_audio_tokens", "output_image_tokens")}
    return {
        "requests": requests,
        "errors": row["errors"],
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "input_tokens": prompt - sum(inputs.values()),
        **inputs,
        "output_tokens": completion - sum(outputs.values()),
        **outputs,
        "cost_usd": format_usd(int(row["charge_nano"])),
        "provider_cost_usd": format_usd(int(row["cost_nano"])) if with_provider_cost else None,
        "unpriced_requests": row["unpriced_requests"],
        "average_latency_ms": row["latency_ms_sum"] // requests if requests else 0,
        "p50_latency_ms": row.get("p50_latency_ms"),
        "p95_latency_ms": row.get("p95_latency_ms"),
    }


async def list_records(
    session: AsyncSession, filters: Filters, after: tuple[Any, ...] | None, limit: int
) -> list[UsageRecord]:
    """Newest first; `after` is (created_at, request_id) of the last record of the page before."""
    return list(fold(await repository.list_attempts(session, filters, after, limit)))


async def attempts_of(session: AsyncSession, tenant_id: UUID, request_id: UUID) -> Sequence[Mapping[str, Any]]:
    """The billed attempts of one call as they truly were, in their order: as columns of the ledger and the records."""
    rows = await repository.list_attempts_of(session, tenant_id, day_of(request_id), request_id)
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        known = found.setdefault(row["attempt"], dict(row))
        if row["is_correction"]:
            # It carries the differences, and says how the attempt ended.
            for name in ("prompt_tokens", "completion_tokens", "latency_ms", "charge_nano"):
                known[name] = (known[name] or 0) + (row[name] or 0)
            known |= {
                name: row[name] for name in ("status", "http_status", "error_code", "estimated", "first_token_ms")
            }
    return [{name: value for name, value in one.items() if name != "is_correction"} for one in found.values()]


def fold(attempts: Iterable[Attempt]) -> Iterable[UsageRecord]:
    """One record per call from its rows, which stand together and in the order of attempts.

    Where the call ended is told by its last attempt; tokens, money and time are sums. A correction carries the
    difference to what was put down before, and says how its attempt ended: that is no estimate any more.
    """
    for _, rows in groupby(attempts, key=lambda attempt: attempt.request_id):
        parts = list(rows)
        # Of an attempt the correction comes last.
        ends = list({part.attempt: part for part in parts}.values())
        last = ends[-1]
        charges = [part.charge_nano for part in parts if part.charge_nano is not None]
        yield UsageRecord(
            request_id=last.request_id,
            api_key_id=last.api_key_id,
            user_id=last.user_id,
            team_id=last.team_id,
            project_id=last.project_id,
            end_user=last.end_user,
            run_id=last.run_id,
            tags=last.tags or {},
            model=last.model,
            provider=last.provider,
            prompt_tokens=sum(part.prompt_tokens for part in parts),
            completion_tokens=sum(part.completion_tokens for part in parts),
            cost_usd=format_usd(sum(charges)) if charges else None,
            latency_ms=sum(part.latency_ms for part in parts),
            status=CallStatus(last.status),
            estimated=any(part.is_estimated for part in ends),
            created_at=last.created_at,
        )


def _ungrouped(question: Question) -> Question:
    return Question(question.filters, (), question.zone, question.with_percentiles)
