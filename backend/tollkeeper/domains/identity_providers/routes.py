"""`/api/v1/identity-providers` with their workload bindings, and `/api/v1/auth/oidc`: signing in through them."""

from typing import Annotated, Final, Protocol
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response

from tollkeeper.core.errors import TollkeeperError
from tollkeeper.core.ids import ExternalIdentityId, IdentityProviderId, WorkloadBindingId, format_id
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.identity.service import Client, SignIn, SignInServices, hand_over
from tollkeeper.domains.identity_providers.bindings import Bindings
from tollkeeper.domains.identity_providers.issuers import Issuers
from tollkeeper.domains.identity_providers.linked import list_linked, unlink
from tollkeeper.domains.identity_providers.schemas import (
    BindingCreate,
    BindingUpdate,
    BindingView,
    IdentityProviderCreate,
    IdentityProviderUpdate,
    IdentityProviderView,
    LinkedAccounts,
    ProviderTest,
    Purpose,
    SignInOption,
    SignInOptions,
)
from tollkeeper.domains.identity_providers.service import IdentityProviders
from tollkeeper.domains.identity_providers.sign_in import Answered, OidcSignIn
from tollkeeper.domains.identity_providers.state import PATH_AFTER, clear_journey, read_journey, write_journey
from tollkeeper.domains.keys.service import Keys
from tollkeeper.web.caller import (
    Caller,
    ControlServices,
    address_of,
    check_same_origin,
    prove_caller,
    request_uuid_of,
)
from tollkeeper.web.deps import (
    CurrentCaller,
    ObjectSession,
    TargetTenant,
    TenantSession,
    Work,
    control_router,
    public,
    requires,
)
from tollkeeper.web.errors import problem
from tollkeeper.web.etag import IfMatch, write_etag
from tollkeeper.web.pagination import Page, Paging, cut
from tollkeeper.web.routing import Declaration
from tollkeeper.web.schemas import problem_responses

router = control_router("identity-providers")
sign_in = control_router("auth/oidc")
# A provider may add what it likes to its answer, so this one route takes parameters that it does not know.
callback = APIRouter(prefix="/auth/oidc", tags=["auth/oidc"], responses=problem_responses())

linked_accounts = control_router("me/identities")

CALLBACK: Final = "/api/v1/auth/oidc/callback"
_SIGN_IN_PAGE: Final = "/console/sign-in"
_LIST: Final = "identity-providers"
_BINDINGS: Final = "workload-bindings"
_VIEW: Final = requires(Permission.IDENTITY_PROVIDERS_VIEW)
_UPDATE: Final = requires(Permission.IDENTITY_PROVIDERS_UPDATE, fresh=True)
_OF_A_SESSION: Final = Declaration(Permission.ME_UPDATE, fresh=True)
_OF_A_STALE_SESSION: Final = Declaration(Permission.ME_UPDATE)


class ProviderServices(SignInServices, ControlServices, Protocol):
    @property
    def issuers(self) -> Issuers: ...


def _services(request: Request) -> ProviderServices:
    services: ProviderServices = request.app.state.services
    return services


Own = Annotated[ProviderServices, Depends(_services)]


def _providers(services: Own) -> IdentityProviders:
    return IdentityProviders(services.secret_box, services.issuers, services.settings.origin + CALLBACK)


def _bindings(services: Own) -> Bindings:
    return Bindings(Keys(services.key_hasher, services.clock))


def _oidc(services: Own) -> OidcSignIn:
    return OidcSignIn(
        services.database,
        services.issuers,
        services.secret_box,
        SignIn(services),
        services.identities,
        services.security_events,
        services.clock,
        services.settings.origin + CALLBACK,
    )


Providers = Annotated[IdentityProviders, Depends(_providers)]
BindingService = Annotated[Bindings, Depends(_bindings)]
Oidc = Annotated[OidcSignIn, Depends(_oidc)]


@router.post("", status_code=201, dependencies=[_UPDATE])
async def create_identity_provider(
    body: IdentityProviderCreate, caller: CurrentCaller, work: Work, providers: Providers, response: Response
) -> IdentityProviderView:
    """Trust an OpenID Connect issuer: for people who sign in, for workloads that call, or for both."""
    tenant_id = caller.tenant_for(body.tenant_id)
    session = await work.tenant(tenant_id)
    row = await providers.create(session, caller, tenant_id, body)
    write_etag(response, row)
    return providers.view(row)


@router.get("", dependencies=[_VIEW])
async def list_identity_providers(
    session: TenantSession, tenant_id: TargetTenant, paging: Paging, providers: Providers
) -> Page[IdentityProviderView]:
    """Newest first."""
    rows = await providers.list_page(session, tenant_id, after=paging.after_id(_LIST), limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _LIST, lambda row: (row.id,))
    return Page(data=[providers.view(row) for row in page], next_cursor=next_cursor)


@router.get("/{provider_id}", dependencies=[_VIEW])
async def show_identity_provider(
    provider_id: IdentityProviderId, session: ObjectSession, providers: Providers, response: Response
) -> IdentityProviderView:
    row = await providers.get(session, provider_id)
    write_etag(response, row)
    return providers.view(row)


@router.patch("/{provider_id}", dependencies=[_UPDATE])
async def update_identity_provider(
    provider_id: IdentityProviderId,
    body: IdentityProviderUpdate,
    caller: CurrentCaller,
    session: ObjectSession,
    providers: Providers,
    if_match: IfMatch,
    response: Response,
) -> IdentityProviderView:
    """Change what is sent. Who signs in through it must be no more than you are."""
    row = await providers.update(session, caller, provider_id, body, if_match)
    write_etag(response, row)
    return providers.view(row)


@router.delete("/{provider_id}", status_code=204, dependencies=[_UPDATE])
async def delete_identity_provider(
    provider_id: IdentityProviderId,
    caller: CurrentCaller,
    session: ObjectSession,
    providers: Providers,
    if_match: IfMatch,
) -> None:
    """With its bindings. Accounts stay; their holders sign in by other means."""
    await providers.delete(session, caller, provider_id, if_match)


@router.post("/{provider_id}/test", dependencies=[_UPDATE])
async def try_identity_provider(
    provider_id: IdentityProviderId, caller: CurrentCaller, services: Own, providers: Providers
) -> ProviderTest:
    """Ask the issuer for its endpoints and keys, as a sign-in would, and say what is wrong."""
    database = services.database
    # Ended before the issuer is asked: an answer that takes long holds no connection.
    async with database.platform() if caller.is_platform else database.tenant(caller.tenant_id) as session:
        row = await providers.get(session, provider_id)
    return await providers.try_out(row)


@router.post("/{provider_id}/bindings", status_code=201, dependencies=[_UPDATE])
async def create_workload_binding(
    provider_id: IdentityProviderId,
    body: BindingCreate,
    caller: CurrentCaller,
    session: ObjectSession,
    bindings: BindingService,
    response: Response,
) -> BindingView:
    """Let tokens of the issuer with these claims act as a key."""
    row = await bindings.create(session, caller, provider_id, body)
    write_etag(response, row)
    return bindings.view(row)


@router.get("/{provider_id}/bindings", dependencies=[_VIEW])
async def list_workload_bindings(
    provider_id: IdentityProviderId,
    session: ObjectSession,
    paging: Paging,
    providers: Providers,
    bindings: BindingService,
) -> Page[BindingView]:
    """Newest first."""
    await providers.get(session, provider_id)
    rows = await bindings.list_page(session, provider_id, after=paging.after_id(_BINDINGS), limit=paging.limit + 1)
    page, next_cursor = cut(rows, paging, _BINDINGS, lambda row: (row.id,))
    return Page(data=[bindings.view(row) for row in page], next_cursor=next_cursor)


@router.get("/{provider_id}/bindings/{binding_id}", dependencies=[_VIEW])
async def show_workload_binding(
    provider_id: IdentityProviderId,
    binding_id: WorkloadBindingId,
    session: ObjectSession,
    bindings: BindingService,
    response: Response,
) -> BindingView:
    row = await bindings.get(session, provider_id, binding_id)
    write_etag(response, row)
    return bindings.view(row)


@router.patch("/{provider_id}/bindings/{binding_id}", dependencies=[_UPDATE])
async def update_workload_binding(
    provider_id: IdentityProviderId,
    binding_id: WorkloadBindingId,
    body: BindingUpdate,
    caller: CurrentCaller,
    session: ObjectSession,
    bindings: BindingService,
    if_match: IfMatch,
    response: Response,
) -> BindingView:
    row = await bindings.update(session, caller, provider_id, binding_id, body, if_match)
    write_etag(response, row)
    return bindings.view(row)


@router.delete("/{provider_id}/bindings/{binding_id}", status_code=204, dependencies=[_UPDATE])
async def delete_workload_binding(
    provider_id: IdentityProviderId,
    binding_id: WorkloadBindingId,
    caller: CurrentCaller,
    session: ObjectSession,
    bindings: BindingService,
    if_match: IfMatch,
) -> None:
    """Tokens that it took are refused from now on."""
    await bindings.delete(session, caller, provider_id, binding_id, if_match)


@sign_in.get("", dependencies=[public()])
async def list_sign_in_options(
    oidc: Oidc,
    tenant: Annotated[str | None, Query(max_length=200, description="The exact slug of your organisation.")] = None,
    email: Annotated[str | None, Query(max_length=254, description="Your address, for its domain.")] = None,
) -> SignInOptions:
    """The providers one may sign in through; nothing for an organisation that is not there."""
    rows = await oidc.list_options(tenant, email)
    return SignInOptions(data=[SignInOption(id=row.id, name=row.name) for row in rows])


@sign_in.get("/{provider_id}/start", dependencies=[public()], status_code=302, response_class=RedirectResponse)
async def start_sign_in(
    provider_id: IdentityProviderId,
    request: Request,
    services: Own,
    oidc: Oidc,
    redirect_to: Annotated[str, Query(max_length=1002, description="Where to go on, on this site.")] = PATH_AFTER,
    purpose: Annotated[
        Purpose, Query(description="link and step_up need a session; link one whose proof is fresh.")
    ] = "sign_in",
) -> Response:
    """Send the browser to the provider. What it must bring back is sealed in a cookie."""
    try:
        caller = await _session_for(purpose, request)
        address, journey = await oidc.start(provider_id, purpose, redirect_to, caller)
    except TollkeeperError as error:
        return _refuse(request, error)
    response = RedirectResponse(address, 302)
    write_journey(response, services.settings, services.secret_box, journey)
    return response


@callback.get("/callback", dependencies=[public()], status_code=302, response_class=RedirectResponse)
async def finish_sign_in(
    request: Request,
    services: Own,
    oidc: Oidc,
    state: Annotated[str | None, Query(max_length=200)] = None,
    code: Annotated[str | None, Query(max_length=4096)] = None,
    iss: Annotated[str | None, Query(max_length=500)] = None,
    error: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Where the provider sends the browser back to: signed in, or with what is wrong."""
    journey = read_journey(request, services.settings, services.secret_box, services.clock.unix())
    client = Client.of(address_of(request), request.headers.get("user-agent"), request_uuid_of(request))
    try:
        if journey is not None and journey.has_state(state):
            await services.login_throttle.charge_return(client.address)
        arrival = await oidc.finish(journey, Answered(state, code, iss, error), client)
    except TollkeeperError as refusal:
        response = _refuse(request, refusal)
        if journey is not None and journey.has_state(state):
            clear_journey(response, services.settings)
        return response
    response = RedirectResponse(arrival.redirect_to, 302)
    clear_journey(response, services.settings)
    if arrival.grant is not None:
        hand_over(response, services.settings, arrival.grant, services.clock.now())
    return response


@linked_accounts.get("", dependencies=[requires(Permission.ME_VIEW)])
async def list_linked_accounts(caller: CurrentCaller, session: TenantSession) -> LinkedAccounts:
    """Your accounts at identity providers that sign in to this one."""
    return LinkedAccounts(data=list(await list_linked(session, caller)))


@linked_accounts.delete("/{identity_id}", status_code=204, dependencies=[requires(Permission.ME_UPDATE, fresh=True)])
async def unlink_account(identity_id: ExternalIdentityId, caller: CurrentCaller, work: Work) -> None:
    """Your account there signs in here no more."""
    await unlink(await work.tenant(caller.tenant_id), caller, identity_id)


async def _session_for(purpose: Purpose, request: Request) -> Caller | None:
    """Who asks to link an account or to renew a proof: the route is public, these two purposes are not."""
    if purpose == "sign_in":
        return None
    # A page of a neighbour's could send the browser here while somebody else sits at the provider.
    check_same_origin(request)
    await (_OF_A_SESSION if purpose == "link" else _OF_A_STALE_SESSION)(request)
    return await prove_caller(request)


def _refuse(request: Request, error: TollkeeperError) -> Response:
    """A browser is sent to the page that explains it; a program gets the problem itself."""
    request_id = format_id("req", request_uuid_of(request))
    if "text/html" not in request.headers.get("accept", ""):
        return problem(error, request_id)
    return RedirectResponse(f"{_SIGN_IN_PAGE}?{urlencode({'error': error.code, 'request_id': request_id})}", 302)
