"""`/api/v1/usage`: sums by model, key, tenant, user, provider, day or hour, and one record per call.

A tenant sees itself; platform administrators see everyone and narrow with `tenant_id`. Who may not see the tenant, its
limits and its spend (a developer), sees the calls of their own keys.
"""

from dataclasses import replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from pydantic import AwareDatetime

from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import KeyId, TenantId, UserId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.usage import service
from tollkeeper.domains.usage.schemas import Filters, GroupBy, UsageRecord, UsageReport, period
from tollkeeper.web.deps import CurrentCaller, ObjectSession, Services, control_router, requires
from tollkeeper.web.pagination import Page, Paging, cut
from tollkeeper.web.schemas import Word

router = control_router("usage")

_RECORDS = "usage_records"


def _filters(
    caller: CurrentCaller,
    services: Services,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="Calls from here on.")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to", description="Calls before.")] = None,
    tenant_id: Annotated[TenantId | None, Query(description="One tenant; for platform administrators.")] = None,
    api_key_id: Annotated[KeyId | None, Query()] = None,
    user_id: Annotated[UserId | None, Query()] = None,
    model: Annotated[Word | None, Query()] = None,
    provider: Annotated[Word | None, Query()] = None,
) -> Filters:
    start, end = period(since, until, services.clock.now())
    if start >= end:
        raise BadRequest("'from' lies before 'to'.", code="invalid_period", param="from")
    return Filters(
        since=start,
        until=end,
        tenant_id=caller.tenant_for(tenant_id) if tenant_id is not None or not caller.is_platform else None,
        owner_id=None if caller.may(Permission.TENANTS_VIEW) else caller.user_id,
        api_key_id=api_key_id,
        user_id=user_id,
        model=model,
        provider=provider,
    )


Wanted = Annotated[Filters, Depends(_filters)]


@router.get("", dependencies=[requires(Permission.USAGE_VIEW)])
async def report(
    session: ObjectSession,
    filters: Wanted,
    group_by: Annotated[
        list[GroupBy] | None, Query(max_length=4, description="What a row stands for; several make finer rows.")
    ] = None,
) -> UsageReport:
    """Sums from the rollups: whole hours, UTC. Times come in order, everything else the dearest first."""
    return await service.report(session, filters, list(dict.fromkeys(group_by or [GroupBy.MODEL])))


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
