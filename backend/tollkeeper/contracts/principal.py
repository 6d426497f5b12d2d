"""Who is calling: what `authenticate` proves once and every later stage relies on."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType
from typing import Any, ClassVar, Final
from uuid import UUID

from tollkeeper.contracts.money import Budget, Limit, Period, ScopeKind, Unit
from tollkeeper.core.permissions import Permission

EXPIRED: Final = "This API key has expired. Create a new one or ask an administrator."


class Environment(StrEnum):
    LIVE = "live"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Principal:
    """A key in use. Everything is effective: already narrowed by the project, the team and the tenant above the key."""

    tenant_id: UUID
    key_id: UUID
    user_id: UUID | None
    environment: Environment
    permissions: frozenset[Permission]
    # None allows every model or provider; names may end in `*`.
    allowed_models: frozenset[str] | None = None
    allowed_providers: frozenset[str] | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    team_id: UUID | None = None
    project_id: UUID | None = None
    # Where a call may go and come from; None is anywhere. `key_bounds` holds a call against them.
    allowed_endpoints: frozenset[str] | None = None
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] | None = None
    allowed_origins: frozenset[str] | None = None
    logging_policy: str = "metadata"
    # Every rule that may apply to a call with this key, the tenant's and the platform's among them.
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()
    # Set for a run key: the name its calls carry in the ledger.
    run_id: str | None = None
    flags: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    # Whether one of the three is set; told here once, so that a call with a key without them pays nothing.
    is_bounded: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        is_bounded = (self.allowed_endpoints, self.allowed_networks, self.allowed_origins) != (None, None, None)
        object.__setattr__(self, "is_bounded", is_bounded)

    def requests_per_minute(self, kind: ScopeKind) -> int | None:
        """What all calls of the key, or of the level above it that is named, may do in a minute; None without a limit."""
        rates = [
            limit.amount
            for limit in self.limits
            if limit.scope.kind is kind
            and limit.unit is Unit.REQUESTS
            and limit.period is Period.MINUTE
            and limit.models is None
            and not (limit.is_per_model or limit.is_shadow)
        ]
        return min(rates, default=None)


@dataclass(frozen=True, slots=True)
class SecretDigest:
    """One valid secret of a key: HMAC-SHA256 under the pepper `pepper_id`; `expires_at` in seconds since 1970."""

    # How pydantic reads bytes of a record that was kept on disk.
    __pydantic_config__: ClassVar[Mapping[str, str]] = MappingProxyType({"val_json_bytes": "base64"})

    pepper_id: str
    digest: bytes
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class EndedRun:
    """From `ends_at` on: one run, or all that were issued before a moment (seconds since 1970, both)."""

    ends_at: float
    run_id: UUID | None = None
    issued_before: float | None = None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as looked up: the principal it stands for and the secrets that prove it.

    `refusal` is set when the key exists but may not be used (revoked, tenant suspended, user disabled): the sentence
    for the caller, told only to who proves the secret. `expires_at` in seconds since 1970.
    """

    principal: Principal
    digests: tuple[SecretDigest, ...]
    expires_at: float | None = None
    refusal: str | None = None
    # Of a key that was looked up for its run keys (`find_by_id`), none of them over for longer than a run may live.
    ended_runs: tuple[EndedRun, ...] = ()


def name_allowed(name: str, allowed: frozenset[str] | None) -> bool:
    """Whether a model or provider name is inside an allow-list whose entries may end in `*`."""
    if allowed is None or name in allowed:
        return True
    return any(entry.endswith("*") and name.startswith(entry[:-1]) for entry in allowed)


def narrow(lists: Iterable[Collection[str] | None]) -> frozenset[str] | None:
    """What all allow-lists have in common; None, which allows everything, when none of them restricts."""
    common: frozenset[str] | None = None
    for names in lists:
        if names is not None:
            common = frozenset(names) if common is None else _both(common, frozenset(names))
    return common


def _both(ours: frozenset[str], theirs: frozenset[str]) -> frozenset[str]:
    """Of two patterns one inside the other, the narrower."""
    return frozenset(
        {name for name in ours if name_allowed(name, theirs)} | {name for name in theirs if name_allowed(name, ours)}
    )
