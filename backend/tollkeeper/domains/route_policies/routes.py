"""`/api/v1/route-policies`: the rules by which calls find their way. Only platform administrators change them."""

from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Request, Response

from tollkeeper.core.ids import RoutePolicyId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.route_policies.schemas import (
    RoutePolicyCreate,
    RoutePolicyOut,
    RoutePolicyRollback,
    RoutePolicyUpdate,
    RoutePolicyVersionOut,
)
from tollkeeper.domains.route_policies.service import RoutePolicies
from tollkeeper.web.deps import CurrentCaller, ObjectSession, PlatformSession, control_router, requires
from tollkeeper.web.etag import IfMatch
from tollkeeper.web.pagination import Page, Paging, cut

router = control_router("route-policies")

_VIEW = [requires(Permission.ROUTER_VIEW)]
_UPDATE = [requires(Permission.ROUTER_UPDATE)]
_FIRST = ("", UUID(int=0))
_LIST = "route-policies"
_VERSIONS = "route-policies.versions"


def _policies(request: Request) -> RoutePolicies:
    found: RoutePolicies = request.app.state.services.route_policies
    return found


Policies = Annotated[RoutePolicies, Depends(_policies)]


def _tag(response: Response, version: int | None) -> None:
    """Those of the file have no version: they cannot be changed here."""
    if version is not None:
        response.headers["etag"] = f'"{version}"'


@router.get("", dependencies=_VIEW)
async def list_route_policies(
    policies: Policies, caller: CurrentCaller, session: ObjectSession, paging: Paging
) -> Page[RoutePolicyOut]:
    """By name, those of the configuration file among them."""
    after = cast(tuple[str, UUID], paging.position(_LIST, str, UUID) or _FIRST)
    found = await policies.list_page(session, caller, after, paging.limit + 1)
    rows, next_cursor = cut(found, paging, _LIST, lambda policy: (policy.name, policy.id))
    return Page(data=list(rows), next_cursor=next_cursor)


@router.post("", status_code=201, dependencies=_UPDATE)
async def create_route_policy(
    policies: Policies, caller: CurrentCaller, session: PlatformSession, body: RoutePolicyCreate, response: Response
) -> RoutePolicyOut:
    """A draft, or with `publish` a policy that models can name. Every fault is told with its path."""
    shown = await policies.create(session, caller, body)
    _tag(response, shown.version)
    return shown


@router.get("/{policy_id}", dependencies=_VIEW)
async def get_route_policy(
    policies: Policies, caller: CurrentCaller, session: ObjectSession, policy_id: RoutePolicyId, response: Response
) -> RoutePolicyOut:
    shown = await policies.get(session, caller, policy_id)
    _tag(response, shown.version)
    return shown


@router.patch("/{policy_id}", dependencies=_UPDATE)
async def update_route_policy(
    policies: Policies,
    caller: CurrentCaller,
    session: PlatformSession,
    policy_id: RoutePolicyId,
    body: RoutePolicyUpdate,
    if_match: IfMatch,
    response: Response,
) -> RoutePolicyOut:
    """Change the draft; calls follow what is published until `publish`."""
    shown = await policies.update(session, caller, policy_id, body, if_match)
    _tag(response, shown.version)
    return shown


@router.delete("/{policy_id}", status_code=204, dependencies=_UPDATE)
async def delete_route_policy(
    policies: Policies, caller: CurrentCaller, session: PlatformSession, policy_id: RoutePolicyId, if_match: IfMatch
) -> None:
    """With all its versions; refused while a model or another policy refers to it."""
    await policies.delete(session, caller, policy_id, if_match)


@router.post("/{policy_id}/publish", dependencies=_UPDATE)
async def publish_route_policy(
    policies: Policies,
    caller: CurrentCaller,
    session: PlatformSession,
    policy_id: RoutePolicyId,
    if_match: IfMatch,
    response: Response,
) -> RoutePolicyOut:
    """Let calls follow the draft, on every worker within a second."""
    shown = await policies.publish(session, caller, policy_id, if_match)
    _tag(response, shown.version)
    return shown


@router.post("/{policy_id}/rollback", dependencies=_UPDATE)
async def roll_back_route_policy(
    policies: Policies,
    caller: CurrentCaller,
    session: PlatformSession,
    policy_id: RoutePolicyId,
    body: RoutePolicyRollback,
    if_match: IfMatch,
    response: Response,
) -> RoutePolicyOut:
    """Let calls follow a version that was published before."""
    shown = await policies.rollback(session, caller, policy_id, body.version, if_match)
    _tag(response, shown.version)
    return shown


@router.get("/{policy_id}/versions", dependencies=_VIEW)
async def list_route_policy_versions(
    policies: Policies, caller: CurrentCaller, session: ObjectSession, paging: Paging, policy_id: RoutePolicyId
) -> Page[RoutePolicyVersionOut]:
    """What the policy has said, the latest first."""
    (before,) = paging.position(_VERSIONS, int) or (None,)
    found = await policies.list_versions(session, caller, policy_id, cast(int | None, before), paging.limit + 1)
    rows, next_cursor = cut(found, paging, _VERSIONS, lambda version: (version.number,))
    return Page(data=list(rows), next_cursor=next_cursor)
