"""`/api/v1/auth`: signing in and out, sessions, passwords, registration."""

from typing import Annotated, Protocol

from fastapi import Depends, Request, Response

from tollkeeper.core.permissions import Permission
from tollkeeper.domains.identity.accounts import Accounts
from tollkeeper.domains.identity.cookie import clear_cookie, device_cookie_name, hand_over
from tollkeeper.domains.identity.lookup import SqlIdentities
from tollkeeper.domains.identity.own_sessions import OwnSessions
from tollkeeper.domains.identity.schemas import (
    Accepted,
    Login,
    PasswordChange,
    Registered,
    Registration,
    ResetCompletion,
    ResetRequest,
    SignedIn,
    SteppedUp,
    StepUp,
    Switch,
    Verification,
)
from tollkeeper.domains.identity.service import Client, Grant, SessionEnded, SignIn, SignInServices, session_of
from tollkeeper.web.caller import (
    ControlServices,
    address_of,
    check_same_origin,
    cookie_name,
    csrf_token,
    request_uuid_of,
)
from tollkeeper.web.deps import CurrentCaller, TenantSession, control_router, public, requires

auth = control_router("auth")


class IdentityServices(SignInServices, ControlServices, Protocol):
    """What signing in needs of the process."""

    @property
    def identities(self) -> SqlIdentities: ...


def services_of(request: Request) -> IdentityServices:
    services: IdentityServices = request.app.state.services
    return services


Own = Annotated[IdentityServices, Depends(services_of)]


def _client(request: Request, services: Own) -> Client:
    return Client.of(
        address_of(request),
        request.headers.get("user-agent"),
        request_uuid_of(request),
        request.cookies.get(device_cookie_name(services.settings)),
    )


def _sign_in(services: Own) -> SignIn:
    return SignIn(services)


FromClient = Annotated[Client, Depends(_client)]
SignInService = Annotated[SignIn, Depends(_sign_in)]


def _accounts(services: Own, sign_in: SignInService) -> Accounts:
    return Accounts(services, sign_in)


def own_sessions(services: Own) -> OwnSessions:
    return OwnSessions(services.database, services.clock, services.settings)


AccountService = Annotated[Accounts, Depends(_accounts)]


def signed_in(response: Response, services: IdentityServices, grant: Grant) -> SignedIn:
    hand_over(response, services.settings, grant, services.clock.now())
    return SignedIn(
        access_token=grant.access_token,
        expires_in=grant.access_seconds,
        csrf_token=csrf_token(services, grant.session_id),
    )


@auth.post("/login", dependencies=[public()])
async def login(
    body: Login, request: Request, response: Response, services: Own, sign_in: SignInService, client: FromClient
) -> SignedIn:
    """Sign in by e-mail address and password: an access token, and a session cookie for browsers.

    An account with a second factor answers 401 `second_factor_required` until `code` comes along.
    """
    check_same_origin(request)
    code = None if body.code is None else body.code.get_secret_value()
    grant = await sign_in.login(body.email, body.password.get_secret_value(), code, client)
    return signed_in(response, services, grant)


@auth.post("/refresh", dependencies=[public()])
async def refresh(
    request: Request, response: Response, services: Own, sign_in: SignInService, client: FromClient
) -> SignedIn:
    """A new access token and a new cookie for the one sent. The cookie proves who asks; used twice, it ends the session."""
    check_same_origin(request)
    token = request.cookies.get(cookie_name(services.settings))
    if not token:
        raise SessionEnded("There is no session cookie. Sign in.")
    return signed_in(response, services, await sign_in.refresh(token, client))


@auth.post("/logout", status_code=204, dependencies=[requires(Permission.ME_VIEW)])
async def logout(
    caller: CurrentCaller, session: TenantSession, response: Response, services: Own, sign_in: SignInService
) -> None:
    """End this session: its cookie and its access tokens are refused at once."""
    session_of(caller)
    await sign_in.logout(session, caller)
    clear_cookie(response, services.settings)


@auth.post("/logout-everywhere", status_code=204, dependencies=[requires(Permission.ME_UPDATE)])
async def logout_everywhere(caller: CurrentCaller, response: Response, services: Own) -> None:
    """End every session of yours, this one included, in every tenant."""
    await own_sessions(services).end_all(caller)
    clear_cookie(response, services.settings)


@auth.post("/switch", dependencies=[requires(Permission.ME_VIEW)])
async def switch(
    body: Switch,
    caller: CurrentCaller,
    response: Response,
    services: Own,
    sign_in: SignInService,
    client: FromClient,
) -> SignedIn:
    """Go on in another tenant you are a member of; the session here ends."""
    return signed_in(response, services, await sign_in.switch(caller, body.tenant_id, client))


@auth.post("/step-up", dependencies=[requires(Permission.ME_UPDATE)])
async def step_up(
    body: StepUp, caller: CurrentCaller, services: Own, sign_in: SignInService, client: FromClient
) -> SteppedUp:
    """Prove who you are once more, for what asks for it (403 `step_up_required`)."""
    code = None if body.code is None else body.code.get_secret_value()
    now = await sign_in.step_up(caller, body.password.get_secret_value(), code, client)
    return SteppedUp.of(now, services.settings.step_up_seconds)


@auth.post("/password", dependencies=[requires(Permission.ME_UPDATE)])
async def change_password(
    body: PasswordChange,
    caller: CurrentCaller,
    response: Response,
    services: Own,
    accounts: AccountService,
    client: FromClient,
) -> SignedIn:
    """Change your password. Every other session ends; this one goes on with a new cookie."""
    current, new = body.current_password.get_secret_value(), body.new_password.get_secret_value()
    return signed_in(response, services, await accounts.change_password(caller, current, new, client))


@auth.post("/password-reset", status_code=202, dependencies=[public()])
async def ask_password_reset(body: ResetRequest, accounts: AccountService, client: FromClient) -> Accepted:
    """Have a link mailed to you that sets a new password. The answer is the same for every address."""
    await accounts.ask_reset(body.email, client)
    return Accepted()


@auth.post("/password-reset/complete", status_code=204, dependencies=[public()])
async def complete_password_reset(body: ResetCompletion, accounts: AccountService, client: FromClient) -> None:
    """Set a new password with the token of a link. Every session of the account ends; sign in next."""
    await accounts.complete_reset(body.token.get_secret_value(), body.new_password.get_secret_value(), client)


@auth.post("/register", status_code=202, dependencies=[public()])
async def register(body: Registration, accounts: AccountService, client: FromClient) -> Registered:
    """Make an account and a tenant of your own, where `self_registration` is on. The same answer for every address."""
    password = body.password.get_secret_value()
    needs = await accounts.register(body.email, password, body.name, body.organisation, client)
    return Registered(needs_verification=needs)


@auth.post("/verify-email", status_code=204, dependencies=[public()])
async def verify_email(body: Verification, accounts: AccountService, client: FromClient) -> None:
    """Open an account with the token of the mail that confirms its address."""
    await accounts.verify_email(body.token.get_secret_value(), client)
