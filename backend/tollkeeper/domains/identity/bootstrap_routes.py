"""`/api/v1/bootstrap`: asked once by the console when it starts, so that its pages never probe what there is."""

from collections.abc import Iterator
from datetime import timedelta

from fastapi import FastAPI, Request
from fastapi.routing import iter_route_contexts

from tollkeeper import __version__
from tollkeeper.core.first_run_file import base_url
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.identity.bootstrap_schemas import Bootstrap, BootstrapUser, Home
from tollkeeper.domains.identity.me import memberships_of, session_of
from tollkeeper.domains.identity.me_schemas import MeTenant
from tollkeeper.domains.identity.routes import Own
from tollkeeper.web.boundary import API_PREFIX
from tollkeeper.web.caller import Caller, csrf_token
from tollkeeper.web.deps import CurrentCaller, Work, control_router, requires

router = control_router("bootstrap")


@router.get("", dependencies=[requires(Permission.ME_VIEW)])
async def show_bootstrap(request: Request, caller: CurrentCaller, work: Work, services: Own) -> Bootstrap:
    """Who calls, where they may work, what they may do, and what this deployment serves."""
    settings = services.settings
    session = await work.tenant(caller.tenant_id)
    tenants = await memberships_of(session, caller, services.identities)
    [current] = [tenant for tenant in tenants if tenant.is_current]
    return Bootstrap(
        version=__version__,
        base_url=base_url(settings.origin),
        user=BootstrapUser(id=caller.user_id, email=caller.email, name=caller.name, role=caller.role),
        tenant=MeTenant(id=current.id, name=current.name),
        home_tenant_id=caller.home_tenant_id,
        tenants=tenants,
        permissions=sorted(caller.permissions),
        home=_home(caller),
        offers=sorted(set(_offers(request.app))),
        csrf_token=None if caller.session_id is None else csrf_token(services, caller.session_id),
        session=session_of(caller, timedelta(seconds=settings.step_up_seconds)),
        must_set_up_second_factor=caller.must_enrol,
        has_mail=settings.mail_url is not None,
        retention_days=settings.request_log_retention_days,
    )


def _home(caller: Caller) -> Home:
    """By what they may do, not by what the role is called: a tenant's own roles have a home as well."""
    if caller.is_platform:
        return "platform"
    if caller.may(Permission.USERS_VIEW):
        return "tenant"
    if caller.may(Permission.TENANTS_VIEW):
        return "finance"
    return "developer"


def _offers(app: FastAPI) -> Iterator[str]:
    for context in iter_route_contexts(app.routes):
        path = context.path or ""
        if path.startswith(f"{API_PREFIX}/"):
            yield path.removeprefix(f"{API_PREFIX}/").partition("/")[0]
