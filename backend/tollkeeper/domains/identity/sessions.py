"""Lets a console session act as one of its user's own keys (the playground): `contracts.ports.SessionLookup`."""

from dataclasses import replace
from typing import Final, Protocol
from uuid import UUID

from tollkeeper.contracts.principal import KeyRecord
from tollkeeper.core.errors import Unauthenticated
from tollkeeper.core.tokens import AccessTokens
from tollkeeper.web.caller import Identities

# The session may do nothing else either, until then.
_MUST_ENROL: Final = "Your organisation asks for a second factor. Set one up first: POST /api/v1/me/second-factor."


class OwnKeys(Protocol):
    """The keys, as far as a session may use them; wiring hands the keys' own lookup over."""

    async def find_own(self, key_id: UUID, tenant_id: UUID, user_id: UUID) -> KeyRecord | None: ...


class Sessions:
    """Failure policy: PostgreSQL late or gone: `DependencyUnavailable`."""

    def __init__(self, keys: OwnKeys, identities: Identities, access_tokens: AccessTokens) -> None:
        self._keys = keys
        self._identities = identities
        self._access_tokens = access_tokens

    async def find_by_session(self, access_token: str, key_id: UUID) -> KeyRecord | None:
        try:
            claims = self._access_tokens.verify(access_token)
        except Unauthenticated:
            return None
        found = await self._identities.find_session(claims.user_id, claims.session_id, claims.tenant_id)
        if found is None or found.identity.session_epoch != claims.epoch or found.identity.refusal is not None:
            return None
        identity = found.identity
        record = await self._keys.find_own(key_id, identity.tenant_id, identity.user_id)
        if record is None:
            return None
        must_enrol = identity.must_enrol and found.method != "oidc"
        # The session proved itself; no secret of the key has a part in it.
        return replace(record, digests=(), refusal=_MUST_ENROL if must_enrol else record.refusal)
