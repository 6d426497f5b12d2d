"""`/api/v1/router`: how targets are at the moment, and the reset of what is held against them."""

from typing import Annotated, cast

from fastapi import Depends, Query, Request

from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.router.schemas import BreakerReset, BreakerResetOut, Position, TargetPage, position_of
from tollkeeper.domains.router.service import Router
from tollkeeper.web.deps import CurrentCaller, PlatformSession, control_router, requires
from tollkeeper.web.pagination import Paging, cut
from tollkeeper.web.schemas import Word

router = control_router("router")
_LIST = "router.health"
_WORKER = "wrk"


def _router(request: Request) -> Router:
    found: Router = request.app.state.services.router
    return found


Targets = Annotated[Router, Depends(_router)]


@router.get("/health", dependencies=[requires(Permission.ROUTER_VIEW)])
async def list_target_health(
    targets: Targets,
    caller: CurrentCaller,
    paging: Paging,
    provider: Annotated[Word | None, Query(description="Of this provider alone.")] = None,
) -> TargetPage:
    """Every target that this worker has called, by provider and model. Each worker judges by its own calls."""
    after = cast(Position | None, paging.position(_LIST, str, str, str))
    found = targets.list_page(caller, provider, after, paging.limit + 1)
    rows, next_cursor = cut(found, paging, _LIST, position_of)
    return TargetPage(
        data=targets.show(caller, rows), next_cursor=next_cursor, worker_id=format_id(_WORKER, targets.worker_id)
    )


@router.post("/breakers/reset", dependencies=[requires(Permission.ROUTER_UPDATE)])
async def reset_breakers(
    targets: Targets, caller: CurrentCaller, session: PlatformSession, body: BreakerReset
) -> BreakerResetOut:
    """Every worker forgets the open breakers, pauses, quarantines and rolled-back canaries of a provider or a part of it."""
    count = await targets.reset(session, caller, body)
    return BreakerResetOut(count=count, worker_id=format_id(_WORKER, targets.worker_id))
