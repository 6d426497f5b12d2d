"""`/api/v1/limits`: how often, for whom.

Who sees the tenant sees all its limits; others those that their own calls meet.
"""

from typing import Annotated

from fastapi import Depends, Response

from tollkeeper.core.ids import LimitId
from tollkeeper.core.permissions import Permission
from tollkeeper.db.models import Limit
from tollkeeper.domains.limits import service
from tollkeeper.domains.limits.asking import Counters, ModelName, RuleListing, Subject, place_of_new
from tollkeeper.domains.limits.rules import limit_of
from tollkeeper.domains.limits.schemas import LimitCreate, LimitStatus, LimitUpdate, LimitView
from tollkeeper.domains.limits.service import Limits
from tollkeeper.domains.limits.status import limit_status
from tollkeeper.web.deps import CurrentCaller, ObjectSession, Services, Work, control_router, requires
from tollkeeper.web.etag import IfMatch, write_etag
from tollkeeper.web.pagination import Page, Paging, cut

router = control_router("limits")
_LIST = "limits"


def _limits(services: Services) -> Limits:
    return Limits(services.clock)


LimitService = Annotated[Limits, Depends(_limits)]


@router.post("", status_code=201, dependencies=[requires(Permission.LIMITS_CREATE)])
async def create_limit(
    body: LimitCreate, caller: CurrentCaller, work: Work, limits: LimitService, response: Response
) -> LimitView:
    """Limit requests, tokens or parallel calls; every worker follows within a second."""
    session, tenant_id = await place_of_new(work, caller, body)
    row = await limits.create(session, caller, tenant_id, body)
    write_etag(response, row)
    return service.view(row)


@router.get("", dependencies=[requires(Permission.LIMITS_VIEW)])
async def list_limits(caller: CurrentCaller, listing: RuleListing, paging: Paging) -> Page[LimitView]:
    """The limits of the tenant, newest first, those behind `rate_limit` and `rate_limit_override` among them."""
    after = paging.after_id(_LIST)
    rows = await service.list_page(listing.session, caller, Limit, listing.wanted, after=after, limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row.id,))
    return Page(data=[service.view(row) for row in page], next_cursor=next_cursor)


@router.get("/{limit_id}", dependencies=[requires(Permission.LIMITS_VIEW)])
async def show_limit(limit_id: LimitId, caller: CurrentCaller, session: ObjectSession, response: Response) -> LimitView:
    row = await service.get(session, caller, Limit, limit_id)
    write_etag(response, row)
    return service.view(row)


@router.get("/{limit_id}/status", dependencies=[requires(Permission.LIMITS_VIEW)])
async def show_limit_status(
    limit_id: LimitId,
    caller: CurrentCaller,
    session: ObjectSession,
    services: Services,
    counters: Counters,
    subject: Subject = None,
    model: ModelName = None,
) -> LimitStatus:
    """What of it is left now, and when nothing of it is used any more."""
    row = await service.get(session, caller, Limit, limit_id)
    viewer, now = await service.viewer_of(session, caller), services.clock.now().timestamp()
    return await limit_status(limit_of(row), row.tenant_id, counters, now, viewer, subject=subject, model=model)


@router.patch("/{limit_id}", dependencies=[requires(Permission.LIMITS_UPDATE)])
async def update_limit(
    limit_id: LimitId,
    body: LimitUpdate,
    caller: CurrentCaller,
    session: ObjectSession,
    limits: LimitService,
    if_match: IfMatch,
    response: Response,
) -> LimitView:
    """Change what is sent; whom and what it counts is for good."""
    row = await limits.update(session, caller, limit_id, body, if_match)
    write_etag(response, row)
    return service.view(row)


@router.delete("/{limit_id}", status_code=204, dependencies=[requires(Permission.LIMITS_DELETE)])
async def delete_limit(
    limit_id: LimitId, caller: CurrentCaller, session: ObjectSession, limits: LimitService, if_match: IfMatch
) -> None:
    """Take the limit away; calls under way are not touched."""
    await limits.delete(session, caller, limit_id, if_match)
