"""`/api/v1/requests`: calls that are over, newest first, and one of them with its attempts.

A tenant sees itself; platform administrators see everyone and narrow with `tenant_id`. Who may not see the tenant (a
developer) sees the calls of their own keys.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Query
from pydantic import AfterValidator, StringConstraints

from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import KeyId, ProjectId, RequestId, TenantId, UserId
from tollkeeper.core.money import Usd, nano_from_usd
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.request_logs import service
from tollkeeper.domains.request_logs.schemas import Filters, Request, RequestDetail, RequestStatus
from tollkeeper.domains.usage.schemas import period
from tollkeeper.web.deps import CurrentCaller, ObjectSession, Services, control_router, requires
from tollkeeper.web.pagination import Page, Paging, cut
from tollkeeper.web.schemas import LARGEST_INT, Word

router = control_router("requests")

_LIST: Final = "requests"
_MOST: Final = 50
DEFAULT_DAYS: Final = 7


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("text may not hold control characters")
    return text


Pasted = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_storable)]


def _filters(
    caller: CurrentCaller,
    services: Services,
    since: Annotated[
        datetime | None,
        Query(alias="from", description=f"Calls from here on; the last {DEFAULT_DAYS} days without it."),
    ] = None,
    until: Annotated[datetime | None, Query(alias="to", description="Calls before.")] = None,
    tenant_id: Annotated[TenantId | None, Query(description="One tenant; for platform administrators.")] = None,
    api_key_id: Annotated[list[KeyId] | None, Query(max_length=_MOST)] = None,
    user_id: Annotated[list[UserId] | None, Query(max_length=_MOST)] = None,
    project_id: Annotated[list[ProjectId] | None, Query(max_length=_MOST)] = None,
    model: Annotated[list[Word] | None, Query(max_length=_MOST, description="As callers named it.")] = None,
    provider: Annotated[list[Word] | None, Query(max_length=_MOST)] = None,
    status: Annotated[list[RequestStatus] | None, Query(max_length=len(RequestStatus))] = None,
    min_latency_ms: Annotated[int | None, Query(ge=0, le=LARGEST_INT, description="As long or longer.")] = None,
    min_cost_usd: Annotated[Usd | None, Query(description="As dear or dearer.")] = None,
    request_id: Annotated[
        Pasted | None,
        Query(
            description="A call's id or how it begins, or the caller's own id of it; whenever it was, without `from`."
        ),
    ] = None,
) -> Filters:
    now = services.clock.now()
    if since is None and until is None:
        kept = services.settings.request_log_retention_days if request_id is not None else DEFAULT_DAYS
        start, end = now - timedelta(days=kept), now + timedelta(minutes=1)
    else:
        start, end = period(since, until, now, "UTC")
    if start >= end:
        raise BadRequest("'from' lies before 'to'.", code="invalid_period", param="from")
    return Filters(
        since=start,
        until=end,
        tenant_id=caller.tenant_for(tenant_id) if tenant_id is not None or not caller.is_platform else None,
        owner_id=_owner(caller),
        api_key_id=tuple(api_key_id or ()),
        user_id=tuple(user_id or ()),
        project_id=tuple(project_id or ()),
        model=tuple(model or ()),
        provider=tuple(provider or ()),
        status=tuple(one.value for one in status or ()),
        min_latency_ms=min_latency_ms,
        min_cost_nano=None if min_cost_usd is None else nano_from_usd(min_cost_usd),
        request_text=request_id,
    )


Wanted = Annotated[Filters, Depends(_filters)]


def _owner(caller: CurrentCaller) -> UUID | None:
    return None if caller.may(Permission.TENANTS_VIEW) else caller.user_id


@router.get("", dependencies=[requires(Permission.REQUESTS_VIEW)])
async def list_calls(session: ObjectSession, filters: Wanted, paging: Paging) -> Page[Request]:
    """Calls that are over, newest first; their content is not in it."""
    after = paging.position(_LIST, UUID)
    calls = await service.list_calls(session, filters, after, paging.limit + 1)
    page, next_cursor = cut(calls, paging, _LIST, lambda call: (call.request_id,))
    return Page(data=list(page), next_cursor=next_cursor)


@router.get("/{request_id}", dependencies=[requires(Permission.REQUESTS_VIEW)])
async def get_call(request_id: RequestId, session: ObjectSession, caller: CurrentCaller) -> RequestDetail:
    """One call with its attempts."""
    return await service.get_call(session, request_id, _owner(caller))
