"""What a route asks for: the caller, the services, a transaction. Everything a domain's `routes` needs of the kernel.

A transaction commits after the route has returned and before its answer is sent; a commit that fails is an error
answer. Rows are reached inside the caller's tenant; who may work on all tenants names another with `tenant_id`.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.ids import TenantId
from tollkeeper.core.permissions import Permission
from tollkeeper.web import errors
from tollkeeper.web.boundary import ControlBoundary
from tollkeeper.web.caller import Caller, ControlServices, allow, prove_caller, services_of
from tollkeeper.web.cors import Cors
from tollkeeper.web.idempotency import claim, withhold_answer
from tollkeeper.web.routing import control_router, public, requires

__all__ = [
    "Caller",
    "ControlServices",
    "CurrentCaller",
    "MemberSession",
    "ObjectSession",
    "PlatformSession",
    "Services",
    "TargetTenant",
    "TenantSession",
    "Work",
    "WorkUnit",
    "control_router",
    "install_kernel",
    "public",
    "requires",
    "withhold_answer",
]


def install_kernel(app: FastAPI) -> None:
    """Errors, request ids and headers of the control plane. `app.state.services` must be set before the first request."""
    errors.install(app)
    app.add_middleware(ControlBoundary)
    app.add_middleware(Cors)


Services = Annotated[ControlServices, Depends(services_of)]
CurrentCaller = Annotated[Caller, Depends(prove_caller)]


class WorkUnit:
    """The one transaction of a request, begun when it is asked for. A POST's `Idempotency-Key` is claimed with it."""

    def __init__(self, request: Request, caller: Caller, stack: AsyncExitStack) -> None:
        self._request = request
        self._caller = caller
        self._stack = stack
        self._scope: UUID | None = None
        self._session: AsyncSession | None = None

    async def tenant(self, tenant_id: UUID) -> AsyncSession:
        """Inside one tenant; the caller's right to it is `caller.tenant_for(…)`'s business."""
        return await self._begin(tenant_id)

    async def platform(self) -> AsyncSession:
        """Across tenants, for callers that may. Raises Forbidden."""
        allow(self._caller, Permission.PLATFORM)
        return await self._begin(None)

    async def _begin(self, tenant_id: UUID | None) -> AsyncSession:
        if self._session is not None:
            assert self._scope == tenant_id, "a request has one transaction, in one scope"
            return self._session
        database = services_of(self._request).database
        context = database.platform() if tenant_id is None else database.tenant(tenant_id)
        session = await self._stack.enter_async_context(context)
        self._session, self._scope = session, tenant_id
        claimed = await claim(self._request, session, tenant_id or self._caller.tenant_id, self._caller)
        if claimed is not None:
            self._request.state.claim = claimed
        return session


async def _work(request: Request, caller: CurrentCaller) -> AsyncIterator[WorkUnit]:
    async with AsyncExitStack() as stack:
        yield WorkUnit(request, caller, stack)


# `scope="function"`: the exit, and with it the commit, comes before the answer is sent.
Work = Annotated[WorkUnit, Depends(_work, scope="function")]


def _target_tenant(
    caller: CurrentCaller,
    tenant_id: Annotated[TenantId | None, Query(description="Another tenant; for platform administrators.")] = None,
) -> UUID:
    return caller.tenant_for(tenant_id)


TargetTenant = Annotated[UUID, Depends(_target_tenant)]


async def _tenant_session(work: Work, tenant_id: TargetTenant) -> AsyncSession:
    return await work.tenant(tenant_id)


async def _object_session(work: Work, caller: CurrentCaller) -> AsyncSession:
    return await work.platform() if caller.is_platform else await work.tenant(caller.tenant_id)


async def _platform_session(work: Work) -> AsyncSession:
    return await work.platform()


# Lists and what is made in the caller's tenant, or in the one a platform caller names as `?tenant_id=`.
TenantSession = Annotated[AsyncSession, Depends(_tenant_session)]
# One object by its id: a platform caller finds it in whichever tenant it is, others in their own alone. Take the tenant
# of what is written with it (audit, events) from the row, not from the caller.
ObjectSession = Annotated[AsyncSession, Depends(_object_session)]
# Work across tenants; 403 for callers that may not.
PlatformSession = Annotated[AsyncSession, Depends(_platform_session)]


async def _member_session(
    work: Work,
    caller: CurrentCaller,
    tenant_id: Annotated[
        TenantId | None, Query(description="As a member of which tenant; for platform administrators.")
    ] = None,
) -> tuple[AsyncSession, UUID]:
    target = caller.tenant_for(tenant_id)
    if caller.is_platform and tenant_id is None:
        return await work.platform(), target
    return await work.tenant(target), target


# One member of a tenant by the user's id, and the tenant to look in first: a platform caller who names none reaches the
# member of their own, else of the one that manages the account.
MemberSession = Annotated[tuple[AsyncSession, UUID], Depends(_member_session)]
