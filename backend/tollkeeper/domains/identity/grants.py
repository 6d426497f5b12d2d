"""What a sign-in hands out: an access token, and the refresh token of a family's newest row."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import Unauthenticated
from tollkeeper.core.ids import uuid7
from tollkeeper.core.secrets import digest_opaque, new_opaque_token
from tollkeeper.core.tokens import AccessTokens
from tollkeeper.db.models import RefreshSession, User
from tollkeeper.domains.identity import repository
from tollkeeper.domains.identity.client import Client
from tollkeeper.web.caller import Caller, Identity


class SessionEnded(Unauthenticated):
    """The cookie is unknown, used up, expired or was taken back."""

    code = "session_ended"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a sign-in or a refresh hands out. `device` is set when the browser is to be known from now on."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    session_id: UUID
    expires_at: datetime
    access_seconds: int
    device: str | None = field(default=None, repr=False)


class Grants:
    """Makes rows of sessions and the tokens to them; `session_life` is the longest that a family lasts."""

    def __init__(self, access_tokens: AccessTokens, clock: Clock, session_life: timedelta) -> None:
        self._access_tokens = access_tokens
        self._clock = clock
        self._session_life = session_life

    def open(
        self,
        session: AsyncSession,
        identity: Identity,
        client: Client,
        *,
        method: str,
        authenticated_at: datetime | None = None,
        expires_at: datetime | None = None,
        device: str | None = None,
    ) -> Grant:
        """A new family, in the tenant of the identity."""
        now = self._clock.now()
        family_id, expires_at = uuid7(), expires_at or now + self._session_life
        row, token = self.new_row(identity, family_id, expires_at, client)
        row.authenticated_at, row.method = authenticated_at or now, method
        repository.add(session, row)
        return self.issue(identity, family_id, token, expires_at, device=device)

    def new_row(
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
            epoch=identity.session_epoch,
        )
        return row, token

    def issue(
        self,
        identity: Identity,
        family_id: UUID,
        refresh_token: str,
        expires_at: datetime,
        *,
        device: str | None = None,
    ) -> Grant:
        access_token, claims = self._access_tokens.issue(
            user_id=identity.user_id,
            tenant_id=identity.tenant_id,
            session_id=family_id,
            epoch=identity.session_epoch,
        )
        seconds = int((claims.expires_at - claims.issued_at).total_seconds())
        return Grant(access_token, refresh_token, family_id, expires_at, seconds, device)

    async def replace_all(
        self, session: AsyncSession, caller: Caller, user: User, client: Client, changed: str
    ) -> Grant:
        """A credential changed: every session of the user ends, in every tenant, and the caller's begins anew.

        As proven as it was: a password alone renews no proof of an account with a second factor.
        """
        await end_everything(session, user, self._clock.now(), changed)
        identity = await repository.find_identity(session, caller.user_id, caller.tenant_id)
        if identity is None:
            raise ended()
        assert caller.method is not None
        return self.open(session, identity, client, method=caller.method, authenticated_at=caller.authenticated_at)


async def end_everything(session: AsyncSession, user: User, now: datetime, changed: str) -> None:
    """In a platform transaction, the user's row locked."""
    user.session_epoch += 1
    await session.flush()
    await repository.end_all_of(session, user.id, now)
    await events.emit(session, user.tenant_id, events.UserChanged(user.id, [changed]))
    await announce(session, Topic.USER, user.id)


def ended() -> SessionEnded:
    return SessionEnded("The session has ended. Sign in again.")
