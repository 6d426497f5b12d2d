"""Which key a workload's token acts as: `contracts.ports.TokenLookup` over bindings and their issuers' keys.

The tenant comes from the audience the token was made for, or from the key its caller names; only that tenant's providers
are heard, and only by the keys of the issuer that the token names. Nothing is fetched for a token that no binding could
take. Failure policy: PostgreSQL or the issuer gone: `DependencyUnavailable`, never "no such token".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from tollkeeper.contracts.principal import KeyRecord
from tollkeeper.core.clock import Clock
from tollkeeper.core.foreign_tokens import ForeignTokenRefused, Unproven, check_times, take_apart
from tollkeeper.core.ids import format_id, parse_id
from tollkeeper.db.session import Database
from tollkeeper.domains.identity_providers import repository
from tollkeeper.domains.identity_providers.issuers import Issuer, Issuers, IssuerUnavailable, IssuerUnfit
from tollkeeper.domains.identity_providers.repository import Trust

log = structlog.get_logger(__name__)

_OUR_AUDIENCE: Final = re.compile(r"tollkeeper:(ten_[0-9a-f]{32})")
# What no issuer means for an API of others: an ID token says who signed in at a client.
_NOT_FOR_US: Final = frozenset({"id_token+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt"})


class OwnKeys(Protocol):
    """The keys, as far as a token may act as one; wiring hands the keys' own lookup over."""

    async def find_own(self, key_id: UUID, tenant_id: UUID, user_id: UUID) -> KeyRecord | None: ...


class WorkloadTokens:
    def __init__(self, database: Database, issuers: Issuers, keys: OwnKeys, clock: Clock) -> None:
        self._database = database
        self._issuers = issuers
        self._keys = keys
        self._clock = clock

    async def find_by_token(self, token: str, key_id: UUID | None) -> tuple[KeyRecord, float] | None:
        try:
            unproven = take_apart(token)
            check_times(unproven.claims, self._clock.unix())
            trusts = await self._trusts(unproven, key_id)
            return await self._act(unproven, trusts) if trusts else None
        except ForeignTokenRefused as error:
            log.info("workload_token_refused", problem=str(error))
            return None

    async def _trusts(self, unproven: Unproven, key_id: UUID | None) -> Sequence[Trust]:
        """The bindings that would take these claims from this issuer, were they proven. The narrowest comes first."""
        if unproven.issuer is None or unproven.type in _NOT_FOR_US:
            return ()
        tenants = _tenants(unproven.audiences)
        if not tenants and key_id is None:
            return ()
        async with self._database.lookup() as session:
            found = await repository.list_trusts(session, unproven.issuer, tenants, key_id)
        fitting = [
            trust for trust in found if _audience(trust) in unproven.audiences and _fits(unproven.claims, trust.claims)
        ]
        return sorted(fitting, key=lambda trust: -len(trust.claims))

    async def _act(self, unproven: Unproven, trusts: Sequence[Trust]) -> tuple[KeyRecord, float] | None:
        """As the first whose provider's issuer, reached as that provider may be, has signed the token."""
        trust = trusts[0]
        assert unproven.issuer is not None
        issuer = Issuer(unproven.issuer, trust.allow_private_address)
        try:
            claims = await self._issuers.verify(issuer, unproven)
        except IssuerUnfit as error:
            # It answered, with what proves nothing: for the caller as good as not there.
            raise IssuerUnavailable("The issuer of this token cannot be asked; try again shortly.") from error
        record = await self._keys.find_own(trust.key_id, trust.tenant_id, trust.key_owner_id)
        if record is None:
            return None
        assert record.principal.tenant_id == trust.tenant_id, "a binding's key is bound to its tenant by a foreign key"
        log.debug("workload_token_accepted", binding_id=format_id("wlb", trust.binding_id))
        # The issuer proved the workload; no secret of the key has a part in it.
        return replace(record, digests=()), float(claims["exp"])


def _tenants(audiences: frozenset[str]) -> set[UUID]:
    """Those a token is meant for by our own form of audience; one that names several is nobody's."""
    found = {match[1] for audience in audiences if (match := _OUR_AUDIENCE.fullmatch(audience))}
    return {parse_id("ten", name) for name in found} if len(found) == 1 else set()


def _audience(trust: Trust) -> str:
    return trust.audience or f"tollkeeper:{format_id('ten', trust.tenant_id)}"


def _fits(claims: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(_says(_find(claims, name), value) for name, value in wanted.items())


def _find(claims: Mapping[str, Any], name: str) -> Any:
    """A dot leads into an object where no claim has the whole name (`kubernetes.io.namespace` has both)."""
    if name in claims:
        return claims[name]
    for position, letter in enumerate(name):
        inside = claims.get(name[:position]) if letter == "." else None
        if isinstance(inside, Mapping):
            found = _find(inside, name[position + 1 :])
            if found is not None:
                return found
    return None


def _says(said: Any, wanted: Any) -> bool:
    """Equal in type and value; of a list one entry; a text that ends in * is the beginning of what must be said."""
    if isinstance(said, list):
        return any(_says(item, wanted) for item in said if not isinstance(item, list))
    if isinstance(wanted, str) and wanted.endswith("*"):
        return isinstance(said, str) and said.startswith(wanted[:-1])
    return type(said) is type(wanted) and bool(said == wanted)
