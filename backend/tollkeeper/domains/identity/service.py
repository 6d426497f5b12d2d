"""Signing in and out, keeping a session alive, taking it to another tenant, and proving oneself once more.

A sign-in is a family of refresh tokens: each refresh gives a new one and marks the old as replaced. A replaced token
that comes back is theft, unless the same client sends it within seconds (two tabs): the whole family ends, and with it
every access token of it.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.clock import Clock
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.errors import BadRequest, Forbidden, NotFound, RateLimited, Unauthenticated
from tollkeeper.core.ids import format_id
from tollkeeper.core.passwords import Passwords
from tollkeeper.core.secrets import digest_opaque
from tollkeeper.core.tokens import AccessTokens
from tollkeeper.db.models import RefreshSession
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity import repository
from tollkeeper.domains.identity.client import Client, actor_of, known_device, new_device
from tollkeeper.domains.identity.cookie import hand_over
from tollkeeper.domains.identity.grants import Grant, Grants, SessionEnded, ended
from tollkeeper.domains.identity.lifetime import ROTATION_GRACE, is_in_force
from tollkeeper.domains.identity.repository import Account
from tollkeeper.domains.identity.second_factors import SecondFactors
from tollkeeper.domains.identity.throttle import LoginThrottle, Place
from tollkeeper.domains.mail.service import Mailing
from tollkeeper.web.caller import Caller, Identity

__all__ = ["Client", "Grant", "SessionEnded", "SignIn", "SignInServices", "hand_over", "session_of"]

log = structlog.get_logger(__name__)

_NOBODY: Final = UUID(int=0)


class WrongCredentials(Unauthenticated):
    """Address or password; nobody is told which."""

    code = "invalid_credentials"


class NotProven(Forbidden):
    """The session stands, but the proof that was asked for again was wrong."""

    code = "invalid_credentials"


class NoPassword(BadRequest):
    """The account proves itself elsewhere."""

    code = "no_password"


class NoSession(BadRequest):
    """A key was used where a person's session is meant."""

    code = "no_session"


class SecurityNotes(Protocol):
    """`domains.audit.security.SecurityEvents`: what was refused, for accounts that exist."""

    def note(
        self,
        tenant_id: UUID,
        action: str,
        actor: audit.Actor,
        object_type: str,
        object_id: str,
        details: Mapping[str, Any] | None = None,
    ) -> None: ...


class SignInServices(Protocol):
    @property
    def database(self) -> Database: ...
    @property
    def passwords(self) -> Passwords: ...
    @property
    def access_tokens(self) -> AccessTokens: ...
    @property
    def login_throttle(self) -> LoginThrottle: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def secret_box(self) -> SecretBox: ...
    @property
    def mail(self) -> Mailing: ...
    @property
    def csrf_key(self) -> bytes: ...
    @property
    def security_events(self) -> SecurityNotes: ...


class SignIn:
    def __init__(self, services: SignInServices) -> None:
        self._database = services.database
        self._passwords = services.passwords
        self._throttle = services.login_throttle
        self._clock = services.clock
        self._device_key = services.csrf_key
        self._notes = services.security_events
        self._idle = timedelta(minutes=services.settings.session_idle_minutes)
        self.grants = Grants(services.access_tokens, services.clock, timedelta(days=services.settings.session_days))
        self.factors = SecondFactors(
            services.database, services.secret_box, services.login_throttle, self.grants, services.mail, services.clock
        )

    async def login(self, email: str, password: str, code: str | None, client: Client) -> Grant:
        """Into the tenant that manages the account. Raises WrongCredentials, CodeRequired, WrongCode, RateLimited."""
        device = known_device(self._device_key, email, client.device)
        gate = nullcontext() if device else self._throttle.strangers.place()
        async with gate, self._database.platform() as session:
            account = await repository.find_account(session, email)
            place = await self._place(session, account, client)
        await self._charge(email, account, place, client)
        # Outside any transaction: it takes long, and just as long for an account that does not exist.
        is_right = await self._passwords.verify(
            password, None if account is None else account.password_hash, is_known=place.is_known
        )
        if account is None or not is_right or account.identity.refusal is not None:
            log.warning("login_refused", address=client.address, is_account=account is not None)
            if account is not None:
                self._note(account.identity, "auth.login_refused", client, "account" if is_right else "password")
            raise WrongCredentials("The e-mail address or the password is wrong.")
        await self._prove_code(account.identity, code, client, place)
        await self._throttle.give_back_login(email, place)
        assert account.password_hash is not None
        is_stale = self._passwords.needs_rehash(account.password_hash)
        rehashed = await self._passwords.hash(password) if is_stale else None
        return await self._open(account.identity, client, method="password", rehashed=rehashed)

    async def open_session(
        self, identity: Identity, client: Client, *, method: str, authenticated_at: datetime | None = None
    ) -> Grant:
        """For a person who was proven otherwise, as by a provider of their organisation."""
        return await self._open(identity, client, method=method, authenticated_at=authenticated_at)

    async def refresh(self, token: str, client: Client) -> Grant:
        """Raises SessionEnded; a token that was used before ends its whole family."""
        now = self._clock.now()
        async with self._database.platform() as session:
            row = await repository.find_token_locked(session, digest_opaque(token))
            if row is None or not is_in_force(row, now, self._idle):
                raise ended()
            identity = await repository.find_identity(session, row.user_id, row.tenant_id)
            if identity is None or identity.refusal is not None or identity.session_epoch != row.epoch:
                raise ended()
            is_reused = row.replaced_by is not None and not await _is_same_moment(session, row, client, now)
            if is_reused:
                await self._end_stolen(session, row, identity, client, now)
            else:
                successor, refresh_token = self.grants.new_row(identity, row.family_id, row.expires_at, client)
                successor.authenticated_at, successor.method = row.authenticated_at, row.method
                repository.add(session, successor)
                # Another tab's refresh may have replaced it already; the first successor stays on record.
                row.replaced_by = row.replaced_by or successor.id
        if is_reused:
            # After the commit: the end of the family must outlive this refusal.
            raise ended()
        return self.grants.issue(identity, row.family_id, refresh_token, row.expires_at)

    async def logout(self, session: AsyncSession, caller: Caller) -> None:
        """Ends the family: its cookie and its access tokens are refused from now on."""
        assert caller.session_id is not None
        await repository.end_family(session, caller.session_id, self._clock.now())
        user = format_id("usr", caller.user_id)
        await audit.record(session, caller, "auth.logout", "user", user, tenant_id=caller.tenant_id)

    async def switch(self, caller: Caller, tenant_id: UUID, client: Client) -> Grant:
        """The session goes on in another tenant of the user's; the one here ends. 404 where they are no member."""
        session_id = session_of(caller)
        if caller.method == "oidc":
            # One organisation's provider speaks for that organisation alone.
            raise Forbidden(
                "This session was opened by your organisation's provider. Sign in with your password to work elsewhere.",
                code="sign_in_method",
            )
        now = self._clock.now()
        async with self._database.platform() as session:
            identity = await repository.find_identity(session, caller.user_id, tenant_id)
            if identity is None or identity.refusal is not None:
                raise NotFound("There is no such tenant.")
            expires_at = await repository.expiry_of(session, session_id)
            if expires_at is None or not await repository.end_own(session, session_id, caller.user_id, now):
                raise ended()
            assert caller.method is not None
            grant = self.grants.open(
                session,
                identity,
                client,
                method=caller.method,
                authenticated_at=caller.authenticated_at,
                expires_at=expires_at,
            )
            user, after = format_id("usr", caller.user_id), {"from": format_id("ten", caller.tenant_id)}
            await audit.record(session, caller, "auth.switch", "user", user, None, after, tenant_id=tenant_id)
        return grant

    async def step_up(self, caller: Caller, password: str, code: str | None, client: Client) -> datetime:
        """The person proves themselves once more. Raises NotProven, NoPassword, RateLimited."""
        session_id = session_of(caller)
        account = await self.prove_password(caller, password, client)
        place = await self.place_of(caller, client)
        try:
            await self._prove_code(account.identity, code, client, place)
        except Unauthenticated as refused:
            # Not 401: the session itself stands.
            raise NotProven(refused.message, code=refused.code) from None
        assert caller.method is not None
        return await self.renew_proof(session_id, caller.user_id, client, method=caller.method)

    async def renew_proof(self, session_id: UUID, user_id: UUID, client: Client, *, method: str) -> datetime:
        """The session counts as just proven: `authenticated_at` is now. Raises SessionEnded."""
        now = self._clock.now()
        async with self._database.platform() as session:
            if not await repository.renew_proof(session, session_id, user_id, now, method):
                raise ended()
            account = await repository.find_account_of(session, user_id)
            if account is None:
                raise ended()
            actor, user = actor_of(account.identity, client), format_id("usr", user_id)
            home = account.identity.home_tenant_id
            await audit.record(session, actor, "auth.step_up", "user", user, None, {"method": method}, tenant_id=home)
        return now

    async def prove_password(self, caller: Caller, password: str, client: Client) -> Account:
        """The caller's own, as throttled as a sign-in. Raises NotProven, NoPassword, RateLimited."""
        async with self._database.platform() as session:
            account = await repository.find_account_of(session, caller.user_id)
            place = await self._place(session, account, client)
        if account is None:
            raise ended()
        if account.password_hash is None:
            raise NoPassword("The account has no password; sign in again where it proves itself.")
        await self._charge(account.identity.email, account, place, client)
        if not await self._passwords.verify(password, account.password_hash, is_known=True):
            self._note(account.identity, "auth.login_refused", client, "password")
            raise NotProven("The password is wrong.")
        await self._throttle.give_back_login(account.identity.email, place)
        return account

    async def remove_second_factor(self, caller: Caller, code: str, client: Client) -> Grant:
        """The caller's own. Raises NotProven, NoFactor, RateLimited."""
        async with self._database.platform() as session:
            account = await repository.find_account_of(session, caller.user_id)
            place = await self._place(session, account, client)
        if account is None:
            raise ended()
        try:
            await self._prove_code(account.identity, code, client, place)
        except Unauthenticated as refused:
            raise NotProven(refused.message, code=refused.code) from None
        return await self.factors.remove(caller, client)

    async def place_of(self, caller: Caller, client: Client) -> Place:
        async with self._database.platform() as session:
            return await self._place_of(session, caller.user_id, caller.email, client)

    async def _open(
        self,
        identity: Identity,
        client: Client,
        *,
        method: str,
        authenticated_at: datetime | None = None,
        rehashed: str | None = None,
    ) -> Grant:
        async with self._database.platform() as session:
            grant = self.grants.open(
                session,
                identity,
                client,
                method=method,
                authenticated_at=authenticated_at,
                device=new_device(self._device_key, identity.email),
            )
            await repository.note_login(session, identity.user_id, self._clock.now(), rehashed)
            user = format_id("usr", identity.user_id)
            actor = actor_of(identity, client)
            tenant_id = identity.tenant_id
            await audit.record(
                session, actor, "auth.login", "user", user, None, {"method": method}, tenant_id=tenant_id
            )
        return grant

    async def _charge(self, email: str, account: Account | None, place: Place, client: Client) -> None:
        try:
            await self._throttle.charge_login(email, place)
        except RateLimited:
            if account is not None:
                self._note(account.identity, "auth.login_throttled", client, "attempts")
            raise

    async def _prove_code(self, identity: Identity, code: str | None, client: Client, place: Place) -> None:
        try:
            await self.factors.prove(identity, code, client, place)
        except (Unauthenticated, RateLimited) as refused:
            if code is not None:
                self._note(identity, "auth.second_factor_refused", client, refused.code)
            raise

    async def _place(self, session: AsyncSession, account: Account | None, client: Client) -> Place:
        if account is None:
            # As slow as for an account, so that the time tells nothing.
            await self._place_of(session, _NOBODY, "", client)
            return Place(client.address)
        return await self._place_of(session, account.identity.user_id, account.identity.email, client)

    async def _place_of(self, session: AsyncSession, user_id: UUID, email: str, client: Client) -> Place:
        place = Place(client.address, device=known_device(self._device_key, email, client.device))
        if place.is_known or client.address is None:
            return place
        is_known = await repository.has_signed_in_from(session, user_id, client.address)
        return replace(place, is_known_address=is_known)

    def _note(self, identity: Identity, action: str, client: Client, reason: str) -> None:
        user = format_id("usr", identity.user_id)
        details = {"reason": reason}
        self._notes.note(identity.home_tenant_id, action, actor_of(identity, client), "user", user, details)

    async def _end_stolen(
        self, session: AsyncSession, row: RefreshSession, identity: Identity, client: Client, now: datetime
    ) -> None:
        log.warning("refresh_token_reused", user_id=format_id("usr", row.user_id), address=client.address)
        await repository.end_family(session, row.family_id, now)
        user = format_id("usr", row.user_id)
        after = {"session": format_id("ses", row.family_id), "ended": "every token of the sign-in"}
        await audit.record(
            session, actor_of(identity, client), "auth.refresh_reused", "user", user, None, after,
            tenant_id=identity.home_tenant_id, outcome="refused",
        )  # fmt: skip


def session_of(caller: Caller) -> UUID:
    """Raises NoSession for a key."""
    if caller.session_id is None:
        raise NoSession("A key has no session; sign in.")
    return caller.session_id


async def _is_same_moment(session: AsyncSession, row: RefreshSession, client: Client, now: datetime) -> bool:
    """Two tabs of one browser refreshed at once."""
    if row.replaced_by is None or (row.address, row.user_agent) != (client.address, client.user_agent):
        return False
    replaced_at = await repository.created_at_of(session, row.replaced_by)
    return replaced_at is not None and now - replaced_at <= ROTATION_GRACE
