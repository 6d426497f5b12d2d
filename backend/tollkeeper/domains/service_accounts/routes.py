"""`/api/v1/service-accounts`."""

from typing import Annotated, Final

from fastapi import Depends, Response

from tollkeeper.core.ids import UserId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.service_accounts.schemas import (
    ServiceAccountCreate,
    ServiceAccountUpdate,
    ServiceAccountView,
)
from tollkeeper.domains.service_accounts.service import ServiceAccounts
from tollkeeper.domains.users.service import Users
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

router = control_router("service-accounts")
_LIST: Final = "service_accounts"


def _accounts(services: Services) -> ServiceAccounts:
    return ServiceAccounts(Users(services.passwords, services.clock))


AccountService = Annotated[ServiceAccounts, Depends(_accounts)]


@router.post("", status_code=201, dependencies=[requires(Permission.USERS_CREATE, fresh=True)])
async def create_service_account(
    body: ServiceAccountCreate, caller: CurrentCaller, work: Work, accounts: AccountService, response: Response
) -> ServiceAccountView:
    """Make an account for programs, with at most your own authority. Its keys are made at `/api/v1/keys`."""
    tenant_id = caller.tenant_for(body.tenant_id)
    session = await work.tenant(tenant_id)
    row = await accounts.create(session, caller, tenant_id, body)
    write_etag(response, row)
    return await accounts.view(session, caller, row)


@router.get("", dependencies=[requires(Permission.USERS_VIEW)])
async def list_service_accounts(
    session: TenantSession, tenant_id: TargetTenant, caller: CurrentCaller, paging: Paging, accounts: AccountService
) -> Page[ServiceAccountView]:
    """The service accounts of the tenant, newest first."""
    after = paging.after_id(_LIST)
    rows = await accounts.list_page(session, tenant_id, after=after, limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row.user_id,))
    return Page(data=await accounts.views(session, caller, page), next_cursor=next_cursor)


@router.get("/{user_id}", dependencies=[requires(Permission.USERS_VIEW)])
async def show_service_account(
    user_id: UserId, caller: CurrentCaller, place: MemberSession, accounts: AccountService, response: Response
) -> ServiceAccountView:
    session, tenant_id = place
    row = await accounts.get(session, user_id, tenant_id, is_anywhere=caller.is_platform)
    write_etag(response, row)
    return await accounts.view(session, caller, row)


@router.patch("/{user_id}", dependencies=[requires(Permission.USERS_UPDATE, fresh=True)])
async def update_service_account(
    user_id: UserId,
    body: ServiceAccountUpdate,
    caller: CurrentCaller,
    place: MemberSession,
    accounts: AccountService,
    if_match: IfMatch,
    response: Response,
) -> ServiceAccountView:
    """Change what is sent. Its keys follow at once."""
    session, tenant_id = place
    row = await accounts.update(session, caller, user_id, tenant_id, body, if_match)
    write_etag(response, row)
    return await accounts.view(session, caller, row)


@router.delete("/{user_id}", status_code=204, dependencies=[requires(Permission.USERS_DELETE, fresh=True)])
async def delete_service_account(
    user_id: UserId, caller: CurrentCaller, place: MemberSession, accounts: AccountService, if_match: IfMatch
) -> None:
    """Revoke its keys and remove it; usage and the audit trail keep the id."""
    session, tenant_id = place
    await accounts.delete(session, caller, user_id, tenant_id, if_match)
