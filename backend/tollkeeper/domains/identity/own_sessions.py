"""The sessions of one person, in whichever tenant they work: what there are, and ending them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tollkeeper.core.clock import Clock
from tollkeeper.core.config import Settings
from tollkeeper.core.errors import NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity import repository
from tollkeeper.domains.identity.grants import end_everything, ended
from tollkeeper.web.caller import Caller


class SessionNotFound(NotFound):
    """No session of that id, or another person's."""


@dataclass(frozen=True, slots=True)
class OwnSession:
    id: UUID
    tenant_id: UUID
    tenant_name: str
    user_agent: str | None
    address: str | None
    method: str
    created_at: datetime
    last_used_at: datetime
    authenticated_at: datetime
    expires_at: datetime


class OwnSessions:
    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._idle = timedelta(minutes=settings.session_idle_minutes)

    async def list_all(self, caller: Caller) -> Sequence[OwnSession]:
        """Those in force, last used first."""
        async with self._database.platform() as session:
            user = await repository.find_user(session, caller.user_id)
            if user is None:
                raise ended()
            rows = await repository.list_in_force(
                session, caller.user_id, user.session_epoch, self._clock.now(), self._idle
            )
        return [
            OwnSession(
                id=row.family_id,
                tenant_id=row.tenant_id,
                tenant_name=row.tenant_name,
                user_agent=row.agents[0],
                address=row.addresses[0],
                method=row.method,
                created_at=row.created_at,
                last_used_at=row.used_at,
                authenticated_at=row.authenticated_at,
                expires_at=row.expires_at,
            )
            for row in rows
        ]

    async def end(self, caller: Caller, session_id: UUID) -> None:
        async with self._database.platform() as session:
            if not await repository.end_own(session, session_id, caller.user_id, self._clock.now()):
                raise SessionNotFound("There is no such session.")
            user, after = format_id("usr", caller.user_id), {"session": format_id("ses", session_id)}
            await audit.record(
                session, caller, "auth.session_ended", "user", user, None, after, tenant_id=caller.home_tenant_id
            )

    async def end_all(self, caller: Caller) -> None:
        """The caller's own included."""
        async with self._database.platform() as session:
            user = await repository.lock_user(session, caller.user_id)
            if user is None:
                raise ended()
            await end_everything(session, user, self._clock.now(), "sessions")
            name = format_id("usr", user.id)
            await audit.record(session, caller, "auth.logout_everywhere", "user", name, tenant_id=user.tenant_id)
