"""`/api/v1/me`: who one is, the own second factor, the own sessions."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Response

from tollkeeper.core.ids import SessionId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.identity.me import Mirror
from tollkeeper.domains.identity.me_schemas import Me
from tollkeeper.domains.identity.own_sessions import OwnSessions
from tollkeeper.domains.identity.routes import FromClient, Own, SignInService, own_sessions, signed_in
from tollkeeper.domains.identity.schemas import (
    CodeSent,
    RecoveryCodes,
    SecondFactorBegun,
    SecondFactorEnabled,
    SecondFactorState,
    SessionView,
    SignedIn,
)
from tollkeeper.domains.keys.service import Explanations, Keys
from tollkeeper.web.caller import csrf_token
from tollkeeper.web.deps import CurrentCaller, TenantSession, control_router, requires
from tollkeeper.web.pagination import Page

router = control_router("me")


def _mirror(services: Own) -> Mirror:
    settings = services.settings
    return Mirror(
        Keys(services.key_hasher, services.clock),
        Explanations(services.database, default_requests_per_minute=settings.default_requests_per_minute),
        services.identities,
        fresh_for=timedelta(seconds=settings.step_up_seconds),
    )


SessionList = Annotated[OwnSessions, Depends(own_sessions)]


@router.get("", dependencies=[requires(Permission.ME_VIEW)])
async def show_me(
    caller: CurrentCaller, session: TenantSession, services: Own, mirror: Annotated[Mirror, Depends(_mirror)]
) -> Me:
    """Who you are, where you may work, your keys, your usage of this month, and what limits you and why."""
    token = None if caller.session_id is None else csrf_token(services, caller.session_id)
    return await mirror.show(session, caller, services.clock.now(), token)


# `me:update`: a key, which applications carry about, never holds it, and has no business with these.
@router.get("/second-factor", dependencies=[requires(Permission.ME_UPDATE)])
async def show_second_factor(caller: CurrentCaller, sign_in: SignInService) -> SecondFactorState:
    """Whether signing in asks for a code."""
    state = await sign_in.factors.state(caller.user_id)
    return SecondFactorState(
        is_set_up=state.confirmed_at is not None,
        confirmed_at=state.confirmed_at,
        recovery_codes_left=state.recovery_codes_left,
    )


@router.post("/second-factor", status_code=201, dependencies=[requires(Permission.ME_UPDATE, fresh=True)])
async def begin_second_factor(caller: CurrentCaller, sign_in: SignInService) -> SecondFactorBegun:
    """A secret for an authenticator app, shown once. Confirm it with a first code."""
    begun = await sign_in.factors.begin(caller)
    return SecondFactorBegun(secret=begun.secret, uri=begun.uri)


@router.post("/second-factor/confirm", dependencies=[requires(Permission.ME_UPDATE)])
async def confirm_second_factor(
    body: CodeSent,
    caller: CurrentCaller,
    response: Response,
    services: Own,
    sign_in: SignInService,
    client: FromClient,
) -> SecondFactorEnabled:
    """From now on signing in asks for a code. Recovery codes, shown once; every other session ends."""
    place = await sign_in.place_of(caller, client)
    renewed = await sign_in.factors.confirm(caller, body.code.get_secret_value(), client, place)
    return SecondFactorEnabled(
        recovery_codes=renewed.recovery_codes, session=signed_in(response, services, renewed.grant)
    )


@router.post("/second-factor/recovery-codes", dependencies=[requires(Permission.ME_UPDATE, fresh=True)])
async def renew_recovery_codes(caller: CurrentCaller, sign_in: SignInService) -> RecoveryCodes:
    """New recovery codes, shown once; those before count no more."""
    return RecoveryCodes(recovery_codes=await sign_in.factors.renew_codes(caller))


@router.delete("/second-factor", dependencies=[requires(Permission.ME_UPDATE, fresh=True)])
async def remove_second_factor(
    body: CodeSent,
    caller: CurrentCaller,
    response: Response,
    services: Own,
    sign_in: SignInService,
    client: FromClient,
) -> SignedIn:
    """Remove it, with a code of it or a recovery code. Every other session ends."""
    grant = await sign_in.remove_second_factor(caller, body.code.get_secret_value(), client)
    return signed_in(response, services, grant)


@router.get("/sessions", dependencies=[requires(Permission.ME_UPDATE)])
async def list_sessions(caller: CurrentCaller, sessions: SessionList) -> Page[SessionView]:
    """Where you are signed in, last used first."""
    return Page(
        data=[
            SessionView(**asdict(row), is_current=row.id == caller.session_id)
            for row in await sessions.list_all(caller)
        ],
        next_cursor=None,
    )


@router.delete("/sessions/{session_id}", status_code=204, dependencies=[requires(Permission.ME_UPDATE)])
async def end_session(session_id: SessionId, caller: CurrentCaller, sessions: SessionList) -> None:
    """End one of your sessions: its cookie and its access tokens are refused at once."""
    await sessions.end(caller, session_id)
