"""The record of a key, read in one query over key, owner and tree.

What a key may do is decided here anew at each look: its scopes bounded by its owner's role, everything else narrowed by
its project, team and tenant (`inheritance`). The data plane's look-up and the explanation of a key read the same.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final, Literal

from sqlalchemy import Row, Select, and_, func, select

from tollkeeper.contracts.key_bounds import read_network
from tollkeeper.contracts.money import Limit, Period, RuleScope, ScopeKind, Unit
from tollkeeper.contracts.principal import Environment, KeyRecord, Principal, SecretDigest
from tollkeeper.core.permissions import Scope, permissions_of, permissions_of_key
from tollkeeper.db.models.keys import ApiKey
from tollkeeper.db.models.members import Member, Role
from tollkeeper.db.models.teams import Project, Team
from tollkeeper.db.models.tenants import Tenant
from tollkeeper.db.models.users import User
from tollkeeper.domains.keys.inheritance import Level, inherit, refusal
from tollkeeper.domains.limits.service import BUDGET_RULES, LIMIT_RULES, read_budgets, read_limits

KeyRow = Row[*tuple[Any, ...]]

_REVOKED: Final = "This API key has been revoked. Create a new one or ask an administrator."
# The fields of a `Level`, in its order.
_NODE: Final = ("id", "name", "is_active", "allowed_models", "allowed_providers", "logging_policy", "tags", "flags")


def _columns_of(node: type[Team | Project], prefix: str) -> list[Any]:
    return [getattr(node, name).label(f"{prefix}_{name}") for name in _NODE]


# What `record_from_row` reads. Restricted by the caller to one key.
KEY_QUERY: Final[Select[*tuple[Any, ...]]] = (
    select(
        ApiKey.id,
        ApiKey.tenant_id,
        ApiKey.user_id,
        ApiKey.name,
        ApiKey.digest,
        ApiKey.pepper_id,
        ApiKey.previous_digest,
        ApiKey.previous_pepper_id,
        ApiKey.previous_expires_at,
        ApiKey.environment,
        ApiKey.scopes,
        ApiKey.status,
        ApiKey.expires_at,
        ApiKey.allowed_models_override,
        ApiKey.allowed_providers_override,
        ApiKey.allowed_endpoints,
        ApiKey.allowed_addresses,
        ApiKey.allowed_origins,
        ApiKey.tags,
        Member.role,
        Role.permissions.label("role_permissions"),
        User.name.label("user_name"),
        and_(User.is_active, Member.is_active, Member.removed_at.is_(None)).label("is_user_active"),
        Tenant.name.label("tenant_name"),
        Tenant.is_active.label("is_tenant_active"),
        Tenant.suspension_reason,
        Tenant.allowed_models.label("tenant_allowed_models"),
        Tenant.allowed_providers.label("tenant_allowed_providers"),
        Tenant.logging_policy.label("tenant_logging_policy"),
        Tenant.flags.label("tenant_flags"),
        *_columns_of(Team, "team"),
        *_columns_of(Project, "project"),
        LIMIT_RULES.label("limits"),
        BUDGET_RULES.label("budgets"),
    )
    .join(Member, and_(Member.tenant_id == ApiKey.tenant_id, Member.user_id == ApiKey.user_id))
    .join(User, User.id == Member.user_id)
    .outerjoin(Role, and_(Role.tenant_id == Member.tenant_id, Role.id == Member.role_id))
    .join(Tenant, Tenant.id == ApiKey.tenant_id)
    .outerjoin(Project, and_(Project.tenant_id == ApiKey.tenant_id, Project.id == ApiKey.project_id))
    # A project that moves to another team takes its keys along.
    .outerjoin(
        Team, and_(Team.tenant_id == ApiKey.tenant_id, Team.id == func.coalesce(Project.team_id, ApiKey.team_id))
    )
)


def record_from_row(row: KeyRow, *, default_requests_per_minute: int = 0) -> KeyRecord:
    """The record of a row of `KEY_QUERY`."""
    inherited = inherit(levels_of(row))
    networks = row.allowed_addresses
    return KeyRecord(
        principal=Principal(
            tenant_id=row.tenant_id,
            key_id=row.id,
            user_id=row.user_id,
            environment=Environment(row.environment),
            permissions=permissions_of_key(permissions_of(row.role, row.role_permissions), map(Scope, row.scopes)),
            allowed_models=inherited.allowed_models,
            allowed_providers=inherited.allowed_providers,
            limits=_limits(row, default_requests_per_minute),
            budgets=read_budgets(row.budgets),
            tags=MappingProxyType(dict(inherited.tags)),
            team_id=row.team_id,
            project_id=row.project_id,
            allowed_endpoints=_set(row.allowed_endpoints),
            allowed_networks=None if networks is None else tuple(read_network(network) for network in networks),
            allowed_origins=_set(row.allowed_origins),
            logging_policy=inherited.logging_policy,
            flags=MappingProxyType(dict(inherited.flags)),
        ),
        digests=_digests(row),
        expires_at=None if row.expires_at is None else row.expires_at.timestamp(),
        # What the key itself says comes first: a revoked key stays one when its tenant is suspended too.
        refusal=_REVOKED if row.status != "active" else refusal(inherited.stopped_by, row.suspension_reason),
    )


def levels_of(row: KeyRow) -> list[Level]:
    """The levels above a key and the key, outermost first, of a row of `KEY_QUERY`."""
    levels = [
        Level(
            "tenant",
            row.tenant_id,
            row.tenant_name,
            row.is_tenant_active,
            row.tenant_allowed_models,
            row.tenant_allowed_providers,
            row.tenant_logging_policy,
            flags=row.tenant_flags,
        )
    ]
    kinds: tuple[Literal["team", "project"], ...] = ("team", "project")
    for kind in kinds:
        values = [getattr(row, f"{kind}_{name}") for name in _NODE]
        if values[0] is not None:
            levels.append(Level(kind, *values))
    levels.append(Level("user", row.user_id, row.user_name, row.is_user_active))
    levels.append(
        Level(
            "key",
            row.id,
            row.name,
            row.status == "active",
            row.allowed_models_override,
            row.allowed_providers_override,
            tags=row.tags,
        )
    )
    return levels


def _limits(row: KeyRow, default_requests_per_minute: int) -> tuple[Limit, ...]:
    """Every limit that may apply; the default is a key's that has no limit of its own on its requests a minute."""
    limits = read_limits(row.limits)
    if not default_requests_per_minute or any(_is_key_rate(limit) for limit in limits):
        return limits
    own = RuleScope(ScopeKind.KEY, row.id.hex)
    return Limit(row.id, own, Unit.REQUESTS, default_requests_per_minute, Period.MINUTE), *limits


def _is_key_rate(limit: Limit) -> bool:
    is_rate = limit.scope.kind is ScopeKind.KEY and limit.unit is Unit.REQUESTS and limit.period is Period.MINUTE
    return is_rate and limit.models is None and not (limit.is_per_model or limit.is_shadow)


def _set(names: Sequence[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _digests(row: KeyRow) -> tuple[SecretDigest, ...]:
    current = SecretDigest(row.pepper_id, row.digest)
    if row.previous_digest is None or row.previous_pepper_id is None or row.previous_expires_at is None:
        return (current,)
    return current, SecretDigest(row.previous_pepper_id, row.previous_digest, row.previous_expires_at.timestamp())
