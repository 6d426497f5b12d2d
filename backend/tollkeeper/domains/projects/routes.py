"""`/api/v1/projects`."""

from typing import Annotated

from fastapi import Query, Response

from tollkeeper.core.ids import ProjectId, TeamId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.projects import service
from tollkeeper.domains.projects.schemas import ProjectCreate, ProjectUpdate, ProjectView
from tollkeeper.domains.projects.service import Filter
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

router = control_router("projects")
_LIST = "projects"


@router.post("", status_code=201, dependencies=[requires(Permission.PROJECTS_CREATE)])
async def create_project(body: ProjectCreate, caller: CurrentCaller, work: Work, response: Response) -> ProjectView:
    """Make a project: anywhere with `teams:update`, in a team you maintain otherwise."""
    tenant_id = caller.tenant_for(body.tenant_id)
    session = await work.tenant(tenant_id)
    row = await service.create(session, caller, tenant_id, body)
    write_etag(response, row)
    return service.view(row)


@router.get("", dependencies=[requires(Permission.PROJECTS_VIEW)])
async def list_projects(
    session: TenantSession,
    tenant_id: TargetTenant,
    paging: Paging,
    is_active: bool | None = None,
    team_id: Annotated[TeamId | None, Query(description="Projects of this team.")] = None,
) -> Page[ProjectView]:
    """Every project of the tenant, newest first."""
    after = paging.after_id(_LIST)
    wanted = Filter(is_active, team_id)
    rows = await service.list_page(session, tenant_id, wanted, after=after, limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row.id,))
    return Page(data=[service.view(row) for row in page], next_cursor=next_cursor)


@router.get("/{project_id}", dependencies=[requires(Permission.PROJECTS_VIEW)])
async def show_project(project_id: ProjectId, session: ObjectSession, response: Response) -> ProjectView:
    row = await service.get(session, project_id)
    write_etag(response, row)
    return service.view(row)


@router.patch("/{project_id}", dependencies=[requires(Permission.PROJECTS_UPDATE)])
async def update_project(
    project_id: ProjectId,
    body: ProjectUpdate,
    caller: CurrentCaller,
    session: ObjectSession,
    if_match: IfMatch,
    response: Response,
) -> ProjectView:
    """Change what is sent. `team_id` moves it, with its keys; workers follow within a second."""
    row = await service.update(session, caller, project_id, body, if_match)
    write_etag(response, row)
    return service.view(row)


@router.delete("/{project_id}", status_code=204, dependencies=[requires(Permission.PROJECTS_DELETE)])
async def delete_project(
    project_id: ProjectId, caller: CurrentCaller, session: ObjectSession, if_match: IfMatch
) -> None:
    """Remove a project that has no keys any more; its usage stays."""
    await service.delete(session, caller, project_id, if_match)
