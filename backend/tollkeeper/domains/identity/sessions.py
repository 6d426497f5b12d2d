"""Lets a console session act as one of its user's own keys (the playground): `contracts.ports.SessionLookup`."""

from dataclasses import replace
from uuid import UUID

from tollkeeper.contracts.principal import KeyRecord
from tollkeeper.core.errors import Unauthenticated
from tollkeeper.core.tokens import AccessTokens
from tollkeeper.db.models import ApiKey
from tollkeeper.db.session import Database
from tollkeeper.domains.keys.lookup import KEY_QUERY, record_from_row
from tollkeeper.web.caller import Identities


class Sessions:
    """Failure policy: PostgreSQL late or gone: `DependencyUnavailable`."""

    def __init__(
        self,
        database: Database,
        identities: Identities,
        access_tokens: AccessTokens,
        *,
        default_requests_per_minute: int = 0,
    ) -> None:
        self._database = database
        self._identities = identities
        self._access_tokens = access_tokens
        self._default_requests_per_minute = default_requests_per_minute

    async def find_by_session(self, access_token: str, key_id: UUID) -> KeyRecord | None:
        try:
            claims = self._access_tokens.verify(access_token)
        except Unauthenticated:
            return None
        identity = await self._identities.find_session(claims.user_id, claims.session_id)
        if identity is None or identity.session_epoch != claims.epoch or identity.refusal is not None:
            return None
        query = KEY_QUERY.where(
            ApiKey.id == key_id, ApiKey.tenant_id == identity.tenant_id, ApiKey.user_id == identity.user_id
        )
        async with self._database.lookup() as session:
            row = (await session.execute(query)).first()
        if row is None:
            return None
        record = record_from_row(row, default_requests_per_minute=self._default_requests_per_minute)
        # The session proved itself; no secret of the key has a part in it.
        return replace(record, digests=())
