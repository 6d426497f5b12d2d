"""`/api/v1/tenants`."""

from typing import Annotated

from fastapi import Depends, Response

from tollkeeper.core.ids import TenantId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.tenants import service
from tollkeeper.domains.tenants.schemas import FlagView, Suspend, TenantCreate, TenantUpdate, TenantView
from tollkeeper.domains.tenants.service import Tenants
from tollkeeper.domains.users.service import Users
from tollkeeper.web.deps import CurrentCaller, ObjectSession, PlatformSession, Services, control_router, requires
from tollkeeper.web.etag import IfMatch, write_etag
from tollkeeper.web.pagination import Page, Paging, cut

router = control_router("tenants")
_LIST = "tenants"


def _tenants(services: Services) -> Tenants:
    return Tenants(Users(services.passwords, services.clock), services.clock)


TenantService = Annotated[Tenants, Depends(_tenants)]


@router.post("", status_code=201, dependencies=[requires(Permission.TENANTS_CREATE, fresh=True)])
async def create_tenant(
    body: TenantCreate, caller: CurrentCaller, session: PlatformSession, tenants: TenantService, response: Response
) -> TenantView:
    """Make a tenant, with a service account that owns keys of no person."""
    row = await tenants.create(session, caller, body)
    write_etag(response, row)
    return await tenants.view(session, row)


@router.get("", dependencies=[requires(Permission.TENANTS_VIEW)])
async def list_tenants(session: ObjectSession, paging: Paging, tenants: TenantService) -> Page[TenantView]:
    """Every tenant for the platform's administrators, their own for all others; newest first."""
    after = paging.after_id(_LIST)
    rows = await tenants.list_page(session, after=after, limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row.id,))
    return Page(data=await tenants.views(session, page), next_cursor=next_cursor)


@router.get("/flags", dependencies=[requires(Permission.TENANTS_VIEW)])
async def list_flags() -> Page[FlagView]:
    """Every feature flag there is: what it does, and who sets it."""
    return Page(data=service.list_flags())


@router.get("/{tenant_id}", dependencies=[requires(Permission.TENANTS_VIEW)])
async def show_tenant(
    tenant_id: TenantId, session: ObjectSession, tenants: TenantService, response: Response
) -> TenantView:
    row = await tenants.get(session, tenant_id)
    write_etag(response, row)
    return await tenants.view(session, row)


@router.patch("/{tenant_id}", dependencies=[requires(Permission.TENANTS_UPDATE, fresh=True)])
async def update_tenant(
    tenant_id: TenantId,
    body: TenantUpdate,
    caller: CurrentCaller,
    session: ObjectSession,
    tenants: TenantService,
    if_match: IfMatch,
    response: Response,
) -> TenantView:
    """Change what is sent; limits, suspension and most flags are the platform's. Workers follow within a second."""
    row = await tenants.update(session, caller, tenant_id, body, if_match)
    write_etag(response, row)
    return await tenants.view(session, row)


@router.post("/{tenant_id}/suspend", dependencies=[requires(Permission.TENANTS_DELETE, fresh=True)])
async def suspend_tenant(
    tenant_id: TenantId,
    body: Suspend,
    caller: CurrentCaller,
    session: PlatformSession,
    tenants: TenantService,
    response: Response,
) -> TenantView:
    """Refuse every key and session of the tenant, on every worker within a second, until it is resumed."""
    row = await tenants.suspend(session, caller, tenant_id, body.reason)
    write_etag(response, row)
    return await tenants.view(session, row)


@router.post("/{tenant_id}/resume", dependencies=[requires(Permission.TENANTS_DELETE, fresh=True)])
async def resume_tenant(
    tenant_id: TenantId, caller: CurrentCaller, session: PlatformSession, tenants: TenantService, response: Response
) -> TenantView:
    """Its keys and sessions work again, as far as they have not ended by themselves."""
    row = await tenants.resume(session, caller, tenant_id)
    write_etag(response, row)
    return await tenants.view(session, row)


@router.delete("/{tenant_id}", status_code=204, dependencies=[requires(Permission.TENANTS_DELETE, fresh=True)])
async def delete_tenant(
    tenant_id: TenantId, caller: CurrentCaller, session: PlatformSession, tenants: TenantService, if_match: IfMatch
) -> None:
    """Revoke its keys, remove its users and refuse it from now on; its usage and its audit trail stay."""
    await tenants.delete(session, caller, tenant_id, if_match)
