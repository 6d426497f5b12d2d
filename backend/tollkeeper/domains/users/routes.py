"""`/api/v1/users`."""

from typing import Annotated

from fastapi import Depends, Response

from tollkeeper.core.ids import UserId
from tollkeeper.core.permissions import Permission, Role
from tollkeeper.domains.keys.service import Keys
from tollkeeper.domains.users.schemas import UserCreate, UserUpdate, UserView
from tollkeeper.domains.users.service import Users
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
from tollkeeper.web.pagination import Page, Paging, cut

router = control_router("users")
_LIST = "users"


def _users(services: Services) -> Users:
    return Users(services.passwords, Keys(services.key_hasher, services.clock), services.clock)


UserService = Annotated[Users, Depends(_users)]


@router.post("", status_code=201, dependencies=[requires(Permission.USERS_CREATE)])
async def create_user(
    body: UserCreate, caller: CurrentCaller, work: Work, users: UserService, response: Response
) -> UserView:
    """Add a person to the tenant, with at most your own authority."""
    tenant_id = caller.tenant_for(body.tenant_id)
    session = await work.tenant(tenant_id)
    row = await users.create(session, caller, tenant_id, body)
    write_etag(response, row[0])
    return users.view(*row)


@router.get("", dependencies=[requires(Permission.USERS_VIEW)])
async def list_users(
    session: TenantSession, tenant_id: TargetTenant, paging: Paging, users: UserService, role: Role | None = None
) -> Page[UserView]:
    """The users of the tenant, newest first."""
    after = paging.after_id(_LIST)
    rows = await users.list_page(session, tenant_id, role=role, after=after, limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row[0].id,))
    return Page(data=[users.view(*row) for row in page], next_cursor=next_cursor)


@router.get("/{user_id}", dependencies=[requires(Permission.USERS_VIEW)])
async def show_user(user_id: UserId, session: ObjectSession, users: UserService, response: Response) -> UserView:
    row = await users.get(session, user_id)
    write_etag(response, row[0])
    return users.view(*row)


@router.patch("/{user_id}", dependencies=[requires(Permission.USERS_UPDATE)])
async def update_user(
    user_id: UserId,
    body: UserUpdate,
    caller: CurrentCaller,
    session: ObjectSession,
    users: UserService,
    if_match: IfMatch,
    response: Response,
) -> UserView:
    """Change what is sent. A changed role, password, address or state signs the user out everywhere."""
    row = await users.update(session, caller, user_id, body, if_match)
    write_etag(response, row[0])
    return users.view(*row)


@router.delete("/{user_id}", status_code=204, dependencies=[requires(Permission.USERS_DELETE)])
async def delete_user(
    user_id: UserId, caller: CurrentCaller, session: ObjectSession, users: UserService, if_match: IfMatch
) -> None:
    """Revoke the user's keys, end the sessions and forget the person; usage and the audit trail keep the id."""
    await users.delete(session, caller, user_id, if_match)
