"""`/api/v1/router/explain`: where a call would go, what it would cost and count under, without making it."""

from typing import Annotated

from fastapi import Depends, Request

from tollkeeper.core.permissions import Permission
from tollkeeper.domains.keys.service import Keys
from tollkeeper.domains.route_policies.explain_schemas import ExplainedRouteOut, RouteQuestionIn
from tollkeeper.domains.route_policies.explaining import Explaining
from tollkeeper.web.deps import CurrentCaller, ObjectSession, Services, control_router, requires

router = control_router("router")


def _explaining(request: Request) -> Explaining:
    found: Explaining = request.app.state.services.explaining
    return found


@router.post("/explain", dependencies=[requires(Permission.ROUTER_VIEW)])
async def explain_route(
    explaining: Annotated[Explaining, Depends(_explaining)],
    caller: CurrentCaller,
    session: ObjectSession,
    services: Services,
    body: RouteQuestionIn,
) -> ExplainedRouteOut:
    """The targets in order, who is left out and why, prices, limits and fallbacks. Nobody is called, nothing is held."""
    keys = Keys(services.key_hasher, services.clock)
    return await explaining(session, caller, keys, body)
