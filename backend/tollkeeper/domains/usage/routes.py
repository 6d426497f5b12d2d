"""`/api/v1/usage`: sums by whatever the caller names, one record per call, and both as a file.

A tenant sees itself; platform administrators see everyone and narrow with `tenant_id`. Who may not see the tenant, its
limits and its spend (a developer), sees the calls of their own keys.
"""

import functools
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID
from zoneinfo import available_timezones

from fastapi import Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import KeyId, ProjectId, TeamId, TenantId, UserId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.usage import export, service
from tollkeeper.domains.usage.schemas import (
    GROUP_PATTERN,
    MAX_DIMENSIONS,
    Filters,
    Question,
    UsageRecord,
    UsageReport,
    period,
)
from tollkeeper.web.deps import CurrentCaller, ObjectSession, Services, control_router, requires
from tollkeeper.web.pagination import Page, Paging, cut
from tollkeeper.web.schemas import Word

router = control_router("usage")

_RECORDS = "usage_records"
_MOST: Final = 50


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - {"Factory", "localtime", "posixrules"}


def _known_zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("expected a name of the IANA time zone database, such as Europe/Berlin")
    return name


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("text may not hold control characters")
    return text


Zone = Annotated[
    str,
    Query(alias="tz", max_length=64, description="IANA zone: of days, and of times without one."),
    AfterValidator(_known_zone),
]
GroupWords = Annotated[str, StringConstraints(pattern=GROUP_PATTERN, max_length=400)]
EndUser = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_storable)]
Tag = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}:", max_length=330), AfterValidator(_storable)
]
Grouping = Annotated[
    list[GroupWords] | None,
    Query(
        max_length=MAX_DIMENSIONS,
        description="What a row stands for, repeated or with commas: model, key, tenant, user, team, project, provider, "
        "hour, day, week, month, end_user, run_id, tag:<name>. Several make finer rows.",
    ),
]


def _filters(
    caller: CurrentCaller,
    services: Services,
    since: Annotated[
        datetime | None, Query(alias="from", description="Calls from here on: a time, or a date for its first moment.")
    ] = None,
    until: Annotated[datetime | None, Query(alias="to", description="Calls before.")] = None,
    zone: Zone = "UTC",
    tenant_id: Annotated[TenantId | None, Query(description="One tenant; for platform administrators.")] = None,
    api_key_id: Annotated[list[KeyId] | None, Query(max_length=_MOST)] = None,
    user_id: Annotated[list[UserId] | None, Query(max_length=_MOST)] = None,
    team_id: Annotated[list[TeamId] | None, Query(max_length=_MOST)] = None,
    project_id: Annotated[list[ProjectId] | None, Query(max_length=_MOST)] = None,
    model: Annotated[list[Word] | None, Query(max_length=_MOST)] = None,
    provider: Annotated[list[Word] | None, Query(max_length=_MOST)] = None,
    end_user: Annotated[list[EndUser] | None, Query(max_length=_MOST)] = None,
    run_id: Annotated[list[Word] | None, Query(max_length=_MOST, description="What a run key was made for.")] = None,
    tag: Annotated[list[Tag] | None, Query(max_length=_MOST, description="`name:value`; all of several.")] = None,
) -> Filters:
    start, end = period(since, until, services.clock.now(), zone)
    if start >= end:
        raise BadRequest("'from' lies before 'to'.", code="invalid_period", param="from")
    named = [entry.partition(":") for entry in tag or ()]
    return Filters(
        since=start,
        until=end,
        tenant_id=caller.tenant_for(tenant_id) if tenant_id is not None or not caller.is_platform else None,
        owner_id=None if caller.may(Permission.TENANTS_VIEW) else caller.user_id,
        api_key_id=tuple(api_key_id or ()),
        user_id=tuple(user_id or ()),
        team_id=tuple(team_id or ()),
        project_id=tuple(project_id or ()),
        model=tuple(model or ()),
        provider=tuple(provider or ()),
        end_user=tuple(end_user or ()),
        run_id=tuple(run_id or ()),
        tags=tuple((name, value) for name, _, value in named),
    )


Wanted = Annotated[Filters, Depends(_filters)]


def words_of(group_by: list[str] | None) -> tuple[str, ...]:
    """Each word once, in order. Raises BadRequest for too many."""
    words = tuple(dict.fromkeys(word for entry in group_by or () for word in entry.split(",")))
    if len(words) > MAX_DIMENSIONS:
        raise BadRequest(f"Group by {MAX_DIMENSIONS} words at most.", code="too_many_groups", param="group_by")
    return words


@router.get("", dependencies=[requires(Permission.USAGE_VIEW)])
async def report(
    session: ObjectSession,
    caller: CurrentCaller,
    services: Services,
    filters: Wanted,
    group_by: Grouping = None,
    zone: Zone = "UTC",
    percentiles: Annotated[bool, Query(description="Also p50 and p95 of the latency, from each call.")] = False,
) -> UsageReport:
    """Sums for the period to the moment. Times come in order, everything else the dearest first."""
    question = Question(filters, words_of(group_by) or ("model",), zone, percentiles)
    service.check_period(question, services.clock.now(), services.settings.usage_retention_days)
    return await service.report(session, question, with_provider_cost=caller.is_platform)


@router.get("/records", dependencies=[requires(Permission.USAGE_VIEW)])
async def list_records(
    session: ObjectSession,
    filters: Wanted,
    paging: Paging,
    status: Annotated[CallStatus | None, Query()] = None,
) -> Page[UsageRecord]:
    """One row per call, newest first."""
    after = paging.position(_RECORDS, datetime, UUID)
    records = await service.list_records(session, replace(filters, status=status), after, paging.limit + 1)
    page, next_cursor = cut(records, paging, _RECORDS, lambda record: (record.created_at, record.request_id))
    return Page(data=list(page), next_cursor=next_cursor)


@router.get(
    "/export",
    dependencies=[requires(Permission.USAGE_VIEW)],
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One line a group or call, the totals last.",
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        }
    },
)
async def export_usage(
    session: ObjectSession,
    caller: CurrentCaller,
    services: Services,
    filters: Wanted,
    group_by: Grouping = None,
    zone: Zone = "UTC",
    status: Annotated[CallStatus | None, Query()] = None,
    form: Annotated[Literal["csv", "jsonl"], Query(alias="format")] = "csv",
) -> StreamingResponse:
    """Sums with `group_by`, else every call. An answer that is cut short breaks the connection and lacks its totals."""
    now = services.clock.now()
    # Calls made while it is read belong to the next export.
    question = Question(replace(filters, status=status, until=min(filters.until, now)), words_of(group_by), zone)
    retention_days = services.settings.usage_retention_days
    if question.group_by:
        service.check_period(question, now, retention_days)
    else:
        service.check_kept(filters, now, retention_days)
    await service.note_export(session, caller, question, form)
    database, tenant_id = services.database, filters.tenant_id

    def transaction() -> AbstractAsyncContextManager[AsyncSession]:
        return database.platform() if tenant_id is None else database.tenant(tenant_id)

    if question.group_by:
        body = export.export_sums(transaction, question, form, with_provider_cost=caller.is_platform)
    else:
        body = export.export_records(transaction, question, form)
    name = f"usage-{filters.since:%Y%m%d}-{question.filters.until:%Y%m%d}.{form}"
    return StreamingResponse(
        body,
        media_type=export.MEDIA[form],
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )
