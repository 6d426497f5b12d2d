"""`/api/v1/teams`."""

from typing import Annotated

from fastapi import Query, Response

from tollkeeper.core.ids import TeamId, UserId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.teams import service
from tollkeeper.domains.teams.schemas import TeamCreate, TeamMemberSet, TeamMemberView, TeamUpdate, TeamView
from tollkeeper.domains.teams.service import Filter
from tollkeeper.web.deps import (
    CurrentCaller,
    ObjectSession,
    TargetTenant,
    TenantSession,
    Work,
    control_router,
    requires,
)
from tollkeeper.web.etag import IfMatch, write_etag
from tollkeeper.web.pagination import Page, Paging, cut

router = control_router("teams")
_LIST = "teams"
_MEMBERS = "team members"


@router.post("", status_code=201, dependencies=[requires(Permission.TEAMS_CREATE)])
async def create_team(body: TeamCreate, caller: CurrentCaller, work: Work, response: Response) -> TeamView:
    """Make a team. It has no members yet."""
    tenant_id = caller.tenant_for(body.tenant_id)
    session = await work.tenant(tenant_id)
    row = await service.create(session, caller, tenant_id, body)
    write_etag(response, row)
    return service.view(row)


@router.get("", dependencies=[requires(Permission.TEAMS_VIEW)])
async def list_teams(
    session: TenantSession,
    tenant_id: TargetTenant,
    paging: Paging,
    is_active: bool | None = None,
    user_id: Annotated[UserId | None, Query(description="Teams this user is in.")] = None,
) -> Page[TeamView]:
    """Every team of the tenant, newest first."""
    after = paging.after_id(_LIST)
    wanted = Filter(is_active, user_id)
    rows = await service.list_page(session, tenant_id, wanted, after=after, limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row.id,))
    return Page(data=[service.view(row) for row in page], next_cursor=next_cursor)


@router.get("/{team_id}", dependencies=[requires(Permission.TEAMS_VIEW)])
async def show_team(team_id: TeamId, session: ObjectSession, response: Response) -> TeamView:
    row = await service.get(session, team_id)
    write_etag(response, row)
    return service.view(row)


@router.patch("/{team_id}", dependencies=[requires(Permission.TEAMS_MAINTAIN)])
async def update_team(
    team_id: TeamId,
    body: TeamUpdate,
    caller: CurrentCaller,
    session: ObjectSession,
    if_match: IfMatch,
    response: Response,
) -> TeamView:
    """Change what is sent: a maintainer the name and the description, `teams:update` the limits as well."""
    row = await service.update(session, caller, team_id, body, if_match)
    write_etag(response, row)
    return service.view(row)


@router.delete("/{team_id}", status_code=204, dependencies=[requires(Permission.TEAMS_DELETE)])
async def delete_team(team_id: TeamId, caller: CurrentCaller, session: ObjectSession, if_match: IfMatch) -> None:
    """Remove a team that has no projects and no keys any more; its usage stays."""
    await service.delete(session, caller, team_id, if_match)


@router.get("/{team_id}/members", dependencies=[requires(Permission.TEAMS_VIEW)])
async def list_team_members(
    team_id: TeamId, caller: CurrentCaller, session: ObjectSession, paging: Paging
) -> Page[TeamMemberView]:
    row = await service.get(session, team_id)
    after = paging.after_id(_MEMBERS)
    members = await service.list_members(session, row, after=after, limit=paging.limit + 1)
    page, next_cursor = cut(members, paging, _MEMBERS, lambda member: (member.user_id,))
    return Page(data=[service.view_member(caller, member) for member in page], next_cursor=next_cursor)


@router.put("/{team_id}/members/{user_id}", dependencies=[requires(Permission.TEAMS_MAINTAIN, fresh=True)])
async def put_team_member(
    team_id: TeamId, user_id: UserId, body: TeamMemberSet, caller: CurrentCaller, session: ObjectSession
) -> TeamMemberView:
    """Put a member of the tenant into the team, or make them its maintainer."""
    return service.view_member(caller, await service.put_member(session, caller, team_id, user_id, body.role))


@router.delete("/{team_id}/members/{user_id}", status_code=204, dependencies=[requires(Permission.TEAMS_MAINTAIN)])
async def remove_team_member(team_id: TeamId, user_id: UserId, caller: CurrentCaller, session: ObjectSession) -> None:
    """Take somebody out of the team; in the tenant they stay."""
    await service.remove_member(session, caller, team_id, user_id)
