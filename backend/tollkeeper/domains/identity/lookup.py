"""Who is behind a session, a cookie or a key's owner: `web.caller.Identities` over PostgreSQL.

Failure policy: PostgreSQL late or gone: `DependencyUnavailable`; nobody is taken for signed out because of it.
"""

from typing import Final
from uuid import UUID

from tollkeeper.core.clock import Clock
from tollkeeper.core.secrets import digest_opaque
from tollkeeper.db.session import Database
from tollkeeper.domains.identity import repository
from tollkeeper.domains.identity.lifetime import ROTATION_GRACE, is_in_force
from tollkeeper.web.caller import Identity, SessionIdentity

# The control plane has time; the 100 ms of the data plane's look-ups would refuse administrators under load.
_DEADLINE_SECONDS: Final = 2.0


class SqlIdentities:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find_user(self, user_id: UUID, tenant_id: UUID) -> Identity | None:
        async with self._database.lookup(deadline_seconds=_DEADLINE_SECONDS) as session:
            return await repository.find_identity(session, user_id, tenant_id)

    async def find_session(self, user_id: UUID, session_id: UUID, tenant_id: UUID) -> SessionIdentity | None:
        now = self._clock.now()
        async with self._database.lookup(deadline_seconds=_DEADLINE_SECONDS) as session:
            return await repository.find_identity_of_session(session, user_id, session_id, tenant_id, now)

    async def find_cookie(self, token: str) -> SessionIdentity | None:
        now = self._clock.now()
        async with self._database.platform() as session:
            row = await repository.find_token(session, digest_opaque(token))
            if row is None or not is_in_force(row, now):
                return None
            if row.replaced_by is not None:
                replaced_at = await repository.created_at_of(session, row.replaced_by)
                if replaced_at is None or now - replaced_at > ROTATION_GRACE:
                    return None
            identity = await repository.find_identity(session, row.user_id, row.tenant_id)
            if identity is None:
                return None
            await repository.touch(session, row, now)
            return SessionIdentity(identity, row.family_id, row.authenticated_at, row.method)
