"""`/api/v1/cache`: what the cache saves, what it holds and why, and how it is made to forget."""

from datetime import datetime
from typing import Annotated, Final, cast

from fastapi import Depends, Query, Request

from tollkeeper.core.errors import BadRequest
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.cache.explorer_schemas import (
    CacheEntryOut,
    CacheNeighbours,
    CachePurgeIn,
    CachePurgeOut,
    CacheStats,
    CacheWrongIn,
    CacheWrongOut,
    EntryName,
)
from tollkeeper.domains.cache.service import CacheExplorer
from tollkeeper.domains.usage.schemas import period
from tollkeeper.web.deps import CurrentCaller, Services, TargetTenant, TenantSession, control_router, requires
from tollkeeper.web.pagination import Page, Paging, encode_cursor

router = control_router("cache")

_LIST: Final = "cache.entries"


def _explorer(request: Request) -> CacheExplorer:
    found: CacheExplorer = request.app.state.services.cache
    return found


Explorer = Annotated[CacheExplorer, Depends(_explorer)]


@router.get("/stats", dependencies=[requires(Permission.CACHE_VIEW)])
async def cache_stats(
    explorer: Explorer,
    session: TenantSession,
    tenant_id: TargetTenant,
    services: Services,
    since: Annotated[
        datetime | None, Query(alias="from", description="Calls from here on; the last 30 days without it.")
    ] = None,
    until: Annotated[datetime | None, Query(alias="to", description="Calls before.")] = None,
) -> CacheStats:
    """What was given again and what it saved, by the ledger and the request log: of all workers, whenever they ran."""
    start, end = period(since, until, services.clock.now(), "UTC")
    if start >= end:
        raise BadRequest("'from' lies before 'to'.", code="invalid_period", param="from")
    return await explorer.stats(session, tenant_id, start, end)


@router.get("/entries", dependencies=[requires(Permission.CACHE_VIEW)])
async def list_cache_entries(explorer: Explorer, tenant_id: TargetTenant, paging: Paging) -> Page[CacheEntryOut]:
    """Those that end last first, without what they say. A page may hold fewer than asked for; the cursor tells of more."""
    after = cast(tuple[int, str] | None, paging.position(_LIST, int, str))
    rows, scanned = await explorer.page(tenant_id, after, paging.limit)
    return Page(data=rows, next_cursor=None if scanned is None else encode_cursor(_LIST, *scanned))


@router.get("/neighbours", dependencies=[requires(Permission.CACHE_VIEW)])
async def list_cache_neighbours(
    explorer: Explorer,
    caller: CurrentCaller,
    tenant_id: TargetTenant,
    entry: Annotated[EntryName, Query(description="Of the semantic cache.")],
) -> CacheNeighbours:
    """The questions most like an entry's, and what each guard says of giving one's answer to the other."""
    shows_text = caller.may(Permission.AUDIT_VIEW)
    return CacheNeighbours(data=await explorer.neighbours(tenant_id, entry, shows_text=shows_text))


@router.post("/purge", dependencies=[requires(Permission.CACHE_MANAGE)])
async def purge_cache(
    explorer: Explorer, session: TenantSession, caller: CurrentCaller, tenant_id: TargetTenant, body: CachePurgeIn
) -> CachePurgeOut:
    """Every worker forgets, within a second; answers under way when it is asked are not kept."""
    return CachePurgeOut(count=await explorer.purge(session, caller, tenant_id, body))


@router.post("/wrong", dependencies=[requires(Permission.CACHE_MANAGE)])
async def mark_cache_answer_wrong(
    explorer: Explorer, session: TenantSession, caller: CurrentCaller, tenant_id: TargetTenant, body: CacheWrongIn
) -> CacheWrongOut:
    """An answer was given again wrongly: nobody gets it any more, and the semantic cache learns of it."""
    return CacheWrongOut(evicted=await explorer.mark_wrong(session, caller, tenant_id, body.entry))
