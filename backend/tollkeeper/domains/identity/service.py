"""Signing in and out, and keeping a session alive.

A sign-in is a family of refresh tokens: each refresh gives a new one and marks the old as replaced. A replaced token
that comes back is theft, unless the same client sends it within seconds (two tabs): the whole family ends, and with it
every access token of it.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.clock import Clock
from tollkeeper.core.config import Settings
from tollkeeper.core.errors import Unauthenticated
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.passwords import Passwords
from tollkeeper.core.secrets import digest_opaque, new_opaque_token
from tollkeeper.core.tokens import AccessTokens
from tollkeeper.db.models import RefreshSession
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity import repository
from tollkeeper.domains.identity.lifetime import ROTATION_GRACE, is_in_force
from tollkeeper.domains.identity.repository import Account
from tollkeeper.domains.identity.throttle import LoginThrottle
from tollkeeper.web.caller import Caller, Identity

log = structlog.get_logger(__name__)

_LONGEST_AGENT: Final = 300


class WrongCredentials(Unauthenticated):
    """Address or password; nobody is told which."""

    code = "invalid_credentials"


class SessionEnded(Unauthenticated):
    """The cookie is unknown, used up, expired or was taken back."""

    code = "session_ended"


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from."""

    address: str | None
    user_agent: str | None
    request_id: UUID

    @classmethod
    def of(cls, address: str | None, user_agent: str | None, request_id: UUID) -> "Client":
        return cls(address, None if user_agent is None else user_agent[:_LONGEST_AGENT], request_id)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a sign-in or a refresh hands out."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    session_id: UUID
    expires_at: datetime
    access_seconds: int


class SignIn:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        access_tokens: AccessTokens,
        throttle: LoginThrottle,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._access_tokens = access_tokens
        self._throttle = throttle
        self._clock = clock
        self._session_life = timedelta(days=settings.session_days)

    async def login(self, email: str, password: str, client: Client) -> Grant:
        """Raises WrongCredentials, RateLimited, DependencyUnavailable."""
        async with self._database.platform() as session:
            account = await repository.find_account(session, email)
            is_known = await _is_known_address(session, account, client)
        self._throttle.charge(email, client.address, is_known_address=is_known)
        # Outside any transaction: it takes long, and just as long for an account that does not exist.
        is_right = await self._passwords.verify(password, None if account is None else account.password_hash)
        if account is None or not is_right or account.identity.refusal is not None:
            log.warning("login_refused", address=client.address, is_account=account is not None)
            raise WrongCredentials("The e-mail address or the password is wrong.")
        self._throttle.give_back(email, client.address, is_known_address=is_known)
        return await self._open(account, password, client)

    async def refresh(self, token: str, client: Client) -> Grant:
        """Raises SessionEnded; a token that was used before ends its whole family."""
        now = self._clock.now()
        async with self._database.platform() as session:
            row = await repository.find_token_locked(session, digest_opaque(token))
            if row is None or not is_in_force(row, now):
                raise _ended()
            identity = await repository.find_identity(session, row.user_id, row.tenant_id)
            if identity is None or identity.refusal is not None:
                raise _ended()
            is_reused = row.replaced_by is not None and not await _is_same_moment(session, row, client, now)
            if is_reused:
                await self._end_stolen(session, row, identity, client, now)
            else:
                successor, refresh_token = self._new_row(identity, row.family_id, row.expires_at, client)
                successor.authenticated_at, successor.method = row.authenticated_at, row.method
                repository.add(session, successor)
                # Another tab's refresh may have replaced it already; the first successor stays on record.
                row.replaced_by = row.replaced_by or successor.id
        if is_reused:
            # After the commit: the end of the family must outlive this refusal.
            raise _ended()
        return self._grant(identity, row.family_id, refresh_token, row.expires_at)

    async def logout(self, session: AsyncSession, caller: Caller) -> None:
        """Ends the family: its cookie and its access tokens are refused from now on."""
        assert caller.session_id is not None
        await repository.end_family(session, caller.session_id, self._clock.now())
        user = format_id("usr", caller.user_id)
        await audit.record(session, caller, "auth.logout", "user", user, tenant_id=caller.tenant_id)

    async def _open(self, account: Account, password: str, client: Client) -> Grant:
        identity, now = account.identity, self._clock.now()
        family_id = uuid7()
        expires_at = now + self._session_life
        row, refresh_token = self._new_row(identity, family_id, expires_at, client)
        assert account.password_hash is not None
        is_stale = self._passwords.needs_rehash(account.password_hash)
        rehashed = await self._passwords.hash(password) if is_stale else None
        async with self._database.platform() as session:
            repository.add(session, row)
            await repository.note_login(session, identity.user_id, now, rehashed)
            user = format_id("usr", identity.user_id)
            actor = _actor(identity, client)
            await audit.record(session, actor, "auth.login", "user", user, tenant_id=identity.tenant_id)
        return self._grant(identity, family_id, refresh_token, expires_at)

    def _new_row(
        self, identity: Identity, family_id: UUID, expires_at: datetime, client: Client
    ) -> tuple[RefreshSession, str]:
        token = new_opaque_token()
        row = RefreshSession(
            id=uuid7(),
            tenant_id=identity.tenant_id,
            user_id=identity.user_id,
            family_id=family_id,
            token_digest=digest_opaque(token),
            created_at=self._clock.now(),
            expires_at=expires_at,
            user_agent=client.user_agent,
            address=client.address,
            authenticated_at=self._clock.now(),
            method="password",
        )
        return row, token

    def _grant(self, identity: Identity, family_id: UUID, refresh_token: str, expires_at: datetime) -> Grant:
        access_token, claims = self._access_tokens.issue(
            user_id=identity.user_id,
            tenant_id=identity.tenant_id,
            session_id=family_id,
            epoch=identity.session_epoch,
        )
        seconds = int((claims.expires_at - claims.issued_at).total_seconds())
        return Grant(access_token, refresh_token, family_id, expires_at, seconds)

    async def _end_stolen(
        self, session: AsyncSession, row: RefreshSession, identity: Identity, client: Client, now: datetime
    ) -> None:
        log.warning("refresh_token_reused", user_id=format_id("usr", row.user_id), address=client.address)
        await repository.end_family(session, row.family_id, now)
        user = format_id("usr", row.user_id)
        after = {"session": row.family_id, "outcome": "every token of the sign-in was revoked"}
        actor = _actor(identity, client)
        await audit.record(
            session, actor, "auth.refresh_reused", "user", user, None, after, tenant_id=identity.tenant_id
        )


async def _is_known_address(session: AsyncSession, account: Account | None, client: Client) -> bool:
    if account is None or client.address is None:
        return False
    return await repository.has_signed_in_from(session, account.identity.user_id, client.address)


async def _is_same_moment(session: AsyncSession, row: RefreshSession, client: Client, now: datetime) -> bool:
    """Two tabs of one browser refreshed at once."""
    if row.replaced_by is None or (row.address, row.user_agent) != (client.address, client.user_agent):
        return False
    replaced_at = await repository.created_at_of(session, row.replaced_by)
    return replaced_at is not None and now - replaced_at <= ROTATION_GRACE


def _actor(identity: Identity, client: Client) -> audit.Actor:
    user = format_id("usr", identity.user_id)
    return audit.Actor("user", user, identity.email, client.request_id, client.address)


def _ended() -> SessionEnded:
    return SessionEnded("The session has ended. Sign in again.")
