"""Who is behind a session, a cookie or a key's owner: `web.caller.Identities` over PostgreSQL.

Failure policy: PostgreSQL late or gone: `DependencyUnavailable`; nobody is taken for signed out because of it.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from tollkeeper.core.clock import Clock
from tollkeeper.core.secrets import digest_opaque
from tollkeeper.db.session import Database
from tollkeeper.domains.identity import credentials, repository
from tollkeeper.domains.identity.lifetime import IDLE, ROTATION_GRACE, TOUCH_EVERY, is_in_force, last_use
from tollkeeper.web.caller import Identity, SessionIdentity

# The control plane has time; the 100 ms of the data plane's look-ups would refuse administrators under load.
_DEADLINE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Membership:
    """A tenant the user may work in now."""

    tenant_id: UUID
    tenant_name: str
    role: str
    is_home: bool


class SqlIdentities:
    def __init__(self, database: Database, clock: Clock, *, idle: timedelta = IDLE) -> None:
        """`idle`: how long an unused session lasts."""
        self._database = database
        self._clock = clock
        self._idle = idle

    async def find_user(self, user_id: UUID, tenant_id: UUID) -> Identity | None:
        async with self._database.lookup(deadline_seconds=_DEADLINE_SECONDS) as session:
            return await repository.find_identity(session, user_id, tenant_id)

    async def find_session(self, user_id: UUID, session_id: UUID, tenant_id: UUID) -> SessionIdentity | None:
        now = self._clock.now()
        async with self._database.lookup(deadline_seconds=_DEADLINE_SECONDS) as session:
            found = await repository.find_identity_of_session(session, user_id, session_id, tenant_id, now, self._idle)
        if found is None:
            return None
        identity, used_at = found
        if now - used_at > TOUCH_EVERY:
            async with self._database.platform() as session:
                await repository.touch(session, session_id, now)
        return identity

    async def find_cookie(self, token: str) -> SessionIdentity | None:
        now = self._clock.now()
        async with self._database.platform() as session:
            row = await repository.find_token(session, digest_opaque(token))
            if row is None or not is_in_force(row, now, self._idle):
                return None
            if row.replaced_by is not None:
                replaced_at = await repository.created_at_of(session, row.replaced_by)
                if replaced_at is None or now - replaced_at > ROTATION_GRACE:
                    return None
            identity = await repository.find_identity(session, row.user_id, row.tenant_id)
            if identity is None or identity.session_epoch != row.epoch:
                return None
            if now - last_use(row) > TOUCH_EVERY:
                await repository.touch(session, row.family_id, now)
            return SessionIdentity(identity, row.family_id, row.authenticated_at, row.method)

    async def list_memberships(self, user_id: UUID) -> list[Membership]:
        """Where the user may work now, the tenant that manages the account first."""
        async with self._database.lookup(deadline_seconds=_DEADLINE_SECONDS) as session:
            found = await repository.list_identities(session, user_id)
        return [
            Membership(item.tenant_id, item.tenant_name, item.role, item.tenant_id == item.home_tenant_id)
            for item in found
            if item.refusal is None
        ]

    async def has_second_factor(self, user_id: UUID) -> bool:
        async with self._database.lookup(deadline_seconds=_DEADLINE_SECONDS) as session:
            return await credentials.has_confirmed_factor(session, user_id)
