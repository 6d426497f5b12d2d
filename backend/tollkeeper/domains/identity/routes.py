"""`/api/v1/auth` and `/api/v1/me`."""

from typing import Annotated, Protocol

from fastapi import Depends, Request, Response

from tollkeeper.core.errors import BadRequest
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.identity import me
from tollkeeper.domains.identity.cookie import clear_cookie, write_cookie
from tollkeeper.domains.identity.schemas import Login, Me, SignedIn
from tollkeeper.domains.identity.service import Client, Grant, SessionEnded, SignIn
from tollkeeper.domains.identity.throttle import LoginThrottle
from tollkeeper.domains.keys.service import Keys
from tollkeeper.web.caller import (
    ControlServices,
    address_of,
    check_same_origin,
    cookie_name,
    csrf_token,
    request_uuid_of,
)
from tollkeeper.web.deps import CurrentCaller, Services, TenantSession, control_router, public, requires

auth = control_router("auth")
router = control_router("me")


class IdentityServices(ControlServices, Protocol):
    @property
    def login_throttle(self) -> LoginThrottle: ...


def _services(request: Request) -> IdentityServices:
    services: IdentityServices = request.app.state.services
    return services


Own = Annotated[IdentityServices, Depends(_services)]


def _sign_in(services: Own) -> SignIn:
    return SignIn(
        services.database,
        services.passwords,
        services.access_tokens,
        services.login_throttle,
        services.settings,
        services.clock,
    )


SignInService = Annotated[SignIn, Depends(_sign_in)]


@auth.post("/login", dependencies=[public()])
async def login(body: Login, request: Request, response: Response, services: Own, sign_in: SignInService) -> SignedIn:
    """Sign in by e-mail address and password: an access token, and a session cookie for browsers."""
    check_same_origin(request)
    grant = await sign_in.login(body.email, body.password.get_secret_value(), _client(request))
    return _signed_in(response, services, grant)


@auth.post("/refresh", dependencies=[public()])
async def refresh(request: Request, response: Response, services: Own, sign_in: SignInService) -> SignedIn:
    """A new access token and a new cookie for the one sent. The cookie proves who asks; used twice, it ends the session."""
    check_same_origin(request)
    token = request.cookies.get(cookie_name(services.settings))
    if not token:
        raise SessionEnded("There is no session cookie. Sign in.")
    grant = await sign_in.refresh(token, _client(request))
    return _signed_in(response, services, grant)


@auth.post("/logout", status_code=204, dependencies=[requires(Permission.ME_VIEW)])
async def logout(
    caller: CurrentCaller, session: TenantSession, response: Response, services: Own, sign_in: SignInService
) -> None:
    """End this session: its cookie and its access tokens are refused at once."""
    if caller.session_id is None:
        raise BadRequest("A key has no session to end; revoke the key instead.", code="no_session")
    await sign_in.logout(session, caller)
    clear_cookie(response, services.settings)


@router.get("", dependencies=[requires(Permission.ME_VIEW)])
async def show_me(caller: CurrentCaller, session: TenantSession, services: Services) -> Me:
    """Who you are, your keys, your usage of this month, and what limits you."""
    token = None if caller.session_id is None else csrf_token(services, caller.session_id)
    return await me.show(session, caller, Keys(services.key_hasher, services.clock), services.clock.now(), token)


def _client(request: Request) -> Client:
    return Client.of(address_of(request), request.headers.get("user-agent"), request_uuid_of(request))


def _signed_in(response: Response, services: IdentityServices, grant: Grant) -> SignedIn:
    seconds = int((grant.expires_at - services.clock.now()).total_seconds())
    write_cookie(response, services.settings, grant.refresh_token, seconds)
    return SignedIn(
        access_token=grant.access_token,
        expires_in=grant.access_seconds,
        csrf_token=csrf_token(services, grant.session_id),
    )
