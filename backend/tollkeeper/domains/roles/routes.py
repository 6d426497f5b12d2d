"""`/api/v1/roles`."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Response

from tollkeeper.core.ids import RoleId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.roles.schemas import PermissionView, RoleCreate, RoleUpdate, RoleView
from tollkeeper.domains.roles.service import Place, Roles, list_permissions
from tollkeeper.web.deps import (
    CurrentCaller,
    ObjectSession,
    Services,
    TargetTenant,
    TenantSession,
    Work,
    control_router,
    requires,
)
from tollkeeper.web.etag import IfMatch, write_etag
from tollkeeper.web.pagination import Page, PageRequest, Paging, cut

router = control_router("roles")
_LIST: Final = "roles"
# Behind no role of the tenant's own yet.
_NONE: Final = UUID(int=0)


def _roles(services: Services) -> Roles:
    return Roles(services.clock)


RoleService = Annotated[Roles, Depends(_roles)]


@router.post("", status_code=201, dependencies=[requires(Permission.ROLES_CREATE, fresh=True)])
async def create_role(
    body: RoleCreate, caller: CurrentCaller, work: Work, roles: RoleService, response: Response
) -> RoleView:
    """Make a role of permissions you hold yourself."""
    tenant_id = caller.tenant_for(body.tenant_id)
    session = await work.tenant(tenant_id)
    row = await roles.create(session, caller, tenant_id, body)
    write_etag(response, row)
    return roles.view(row)


@router.get("", dependencies=[requires(Permission.ROLES_VIEW)])
async def list_roles(
    session: TenantSession, tenant_id: TargetTenant, paging: Paging, roles: RoleService
) -> Page[RoleView]:
    """The built-in roles, then the tenant's own, oldest first."""
    rows = await roles.list_page(session, tenant_id, _place(paging), paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row[1].built_in, row[1].after or _NONE))
    return Page(data=[view for view, _ in page], next_cursor=next_cursor)


@router.get("/permissions", dependencies=[requires(Permission.ROLES_VIEW)])
async def show_permissions() -> Page[PermissionView]:
    """Every permission with what it lets its holder do."""
    return Page(data=list_permissions())


@router.get("/{role_id}", dependencies=[requires(Permission.ROLES_VIEW)])
async def show_role(role_id: RoleId, session: ObjectSession, roles: RoleService, response: Response) -> RoleView:
    row = await roles.get(session, role_id)
    write_etag(response, row)
    return roles.view(row)


@router.patch("/{role_id}", dependencies=[requires(Permission.ROLES_UPDATE, fresh=True)])
async def update_role(
    role_id: RoleId,
    body: RoleUpdate,
    caller: CurrentCaller,
    session: ObjectSession,
    roles: RoleService,
    if_match: IfMatch,
    response: Response,
) -> RoleView:
    """Change what is sent. Whoever has the role may do more, or less, from the next call on."""
    row = await roles.update(session, caller, role_id, body, if_match)
    write_etag(response, row)
    return roles.view(row)


@router.delete("/{role_id}", status_code=204, dependencies=[requires(Permission.ROLES_DELETE, fresh=True)])
async def delete_role(
    role_id: RoleId, caller: CurrentCaller, session: ObjectSession, roles: RoleService, if_match: IfMatch
) -> None:
    """Refused while a member has the role or an open invitation gives it."""
    await roles.delete(session, caller, role_id, if_match)


def _place(paging: PageRequest) -> Place:
    position = paging.position(_LIST, int, UUID)
    if position is None:
        return Place()
    built_in, after = position
    assert isinstance(built_in, int)
    assert isinstance(after, UUID)
    return Place(built_in, None if after == _NONE else after)
