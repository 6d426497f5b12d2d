"""`/api/v1/users`: the members of a tenant."""

from typing import Annotated, Final

from fastapi import Depends, Query, Response

from tollkeeper.core.ids import UserId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.roles.schemas import RoleName
from tollkeeper.domains.users.schemas import Kind, UserCreate, UserUpdate, UserView
from tollkeeper.domains.users.service import Filter, Users
from tollkeeper.web.deps import (
    CurrentCaller,
    MemberSession,
    Services,
    TargetTenant,
    TenantSession,
    Work,
    control_router,
    requires,
)
from tollkeeper.web.etag import IfMatch, write_etag
from tollkeeper.web.pagination import Page, Paging, cut
from tollkeeper.web.schemas import Name

router = control_router("users")
_LIST: Final = "users"


def _users(services: Services) -> Users:
    return Users(services.passwords, services.clock)


UserService = Annotated[Users, Depends(_users)]


@router.post("", status_code=201, dependencies=[requires(Permission.USERS_CREATE, fresh=True)])
async def create_user(
    body: UserCreate, caller: CurrentCaller, work: Work, users: UserService, response: Response
) -> UserView:
    """Add a person to the tenant, with at most your own authority."""
    tenant_id = caller.tenant_for(body.tenant_id)
    session = await work.tenant(tenant_id)
    row = await users.create(session, caller, tenant_id, body)
    write_etag(response, row)
    return await users.view(session, caller, row)


@router.get("", dependencies=[requires(Permission.USERS_VIEW)])
async def list_users(
    session: TenantSession,
    tenant_id: TargetTenant,
    caller: CurrentCaller,
    paging: Paging,
    users: UserService,
    role: Annotated[RoleName | None, Query(description="Name of a role, whatever its case.")] = None,
    kind: Kind | None = None,
    is_active: bool | None = None,
    q: Annotated[Name | None, Query(description="Part of a name or an address.")] = None,
) -> Page[UserView]:
    """The members of the tenant, newest account first: its own, service accounts and guests."""
    after = paging.after_id(_LIST)
    wanted = Filter(role, kind, is_active, q)
    rows = await users.list_page(session, tenant_id, wanted, after=after, limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row.user_id,))
    return Page(data=await users.views(session, caller, page), next_cursor=next_cursor)


@router.get("/{user_id}", dependencies=[requires(Permission.USERS_VIEW)])
async def show_user(
    user_id: UserId, caller: CurrentCaller, place: MemberSession, users: UserService, response: Response
) -> UserView:
    session, tenant_id = place
    row = await users.get(session, user_id, tenant_id, is_anywhere=caller.is_platform)
    write_etag(response, row)
    return await users.view(session, caller, row)


@router.patch("/{user_id}", dependencies=[requires(Permission.USERS_UPDATE, fresh=True)])
async def update_user(
    user_id: UserId,
    body: UserUpdate,
    caller: CurrentCaller,
    place: MemberSession,
    users: UserService,
    if_match: IfMatch,
    response: Response,
) -> UserView:
    """Change what is sent. A changed role, password, address or state signs the user out everywhere.

    Of a guest only `role` and `is_active` can be changed, which ends their sessions in this tenant.
    """
    session, tenant_id = place
    row = await users.update(session, caller, user_id, tenant_id, body, if_match)
    write_etag(response, row)
    return await users.view(session, caller, row)


@router.delete("/{user_id}", status_code=204, dependencies=[requires(Permission.USERS_DELETE, fresh=True)])
async def delete_user(
    user_id: UserId, caller: CurrentCaller, place: MemberSession, users: UserService, if_match: IfMatch
) -> None:
    """Revoke the user's keys, end the sessions and forget the person; usage and the audit trail keep the id.

    A guest is only removed from this tenant.
    """
    session, tenant_id = place
    await users.delete(session, caller, user_id, tenant_id, if_match)
