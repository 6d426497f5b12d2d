"""Finds the key behind a token for the data plane: one read over key, owner and tenant, as `contracts.ports.KeyLookup`.

What a key may do is decided here anew at each look: its scopes bounded by its owner's role, its models by its tenant's.
"""

from collections.abc import Collection, Sequence
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, or_, select

from tollkeeper.contracts.principal import Environment, KeyRecord, Principal, SecretDigest, name_allowed
from tollkeeper.core.permissions import Scope, permissions_of, permissions_of_key
from tollkeeper.db.models.keys import ApiKey
from tollkeeper.db.models.members import Member, Role
from tollkeeper.db.models.tenants import Tenant
from tollkeeper.db.models.users import User
from tollkeeper.db.session import Database

KeyRow = Row[*tuple[Any, ...]]

# What `record_from_row` reads. Restricted by the caller to one key.
KEY_QUERY: Final[Select[*tuple[Any, ...]]] = (
    select(
        ApiKey.id,
        ApiKey.tenant_id,
        ApiKey.user_id,
        ApiKey.digest,
        ApiKey.pepper_id,
        ApiKey.previous_digest,
        ApiKey.previous_pepper_id,
        ApiKey.previous_expires_at,
        ApiKey.environment,
        ApiKey.scopes,
        ApiKey.status,
        ApiKey.expires_at,
        ApiKey.rate_limit_override,
        ApiKey.allowed_models_override,
        ApiKey.tags,
        Member.role,
        Role.permissions.label("role_permissions"),
        and_(User.is_active, Member.is_active, Member.removed_at.is_(None)).label("is_user_active"),
        Tenant.is_active.label("is_tenant_active"),
        Tenant.rate_limit.label("tenant_rate_limit"),
        Tenant.allowed_models.label("tenant_allowed_models"),
        Tenant.allowed_providers.label("tenant_allowed_providers"),
    )
    .join(Member, and_(Member.tenant_id == ApiKey.tenant_id, Member.user_id == ApiKey.user_id))
    .join(User, User.id == Member.user_id)
    .outerjoin(Role, and_(Role.tenant_id == Member.tenant_id, Role.id == Member.role_id))
    .join(Tenant, Tenant.id == ApiKey.tenant_id)
)


class SqlKeyLookup:
    """Failure policy: PostgreSQL late or gone: `DependencyUnavailable`, never "no such key"."""

    def __init__(self, database: Database, *, default_requests_per_minute: int = 0) -> None:
        """`default_requests_per_minute` is the rate of a key that has none of its own; 0 is unlimited."""
        self._database = database
        self._default_requests_per_minute = default_requests_per_minute

    async def find_by_public_id(self, public_id: str) -> KeyRecord | None:
        return await self._find(ApiKey.public_id == public_id)

    async def find_by_digest(self, digests: Sequence[bytes]) -> KeyRecord | None:
        # A key in another form that was rotated into ours is still found by its former digest.
        return await self._find(
            or_(
                and_(ApiKey.public_id.is_(None), ApiKey.digest.in_(digests)),
                and_(ApiKey.previous_digest.is_not(None), ApiKey.previous_digest.in_(digests)),
            )
        )

    async def find_own(self, key_id: UUID, tenant_id: UUID, user_id: UUID) -> KeyRecord | None:
        """A user's own key, for a session that acts as it."""
        return await self._find(and_(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id, ApiKey.user_id == user_id))

    async def _find(self, condition: ColumnElement[bool]) -> KeyRecord | None:
        async with self._database.lookup() as session:
            row = (await session.execute(KEY_QUERY.where(condition).limit(1))).first()
        if row is None:
            return None
        return record_from_row(row, default_requests_per_minute=self._default_requests_per_minute)


def record_from_row(row: KeyRow, *, default_requests_per_minute: int = 0) -> KeyRecord:
    """The record of a row of `KEY_QUERY`."""
    return KeyRecord(
        principal=Principal(
            tenant_id=row.tenant_id,
            key_id=row.id,
            user_id=row.user_id,
            environment=Environment(row.environment),
            permissions=permissions_of_key(permissions_of(row.role, row.role_permissions), map(Scope, row.scopes)),
            allowed_models=_both(row.allowed_models_override, row.tenant_allowed_models),
            allowed_providers=_both(None, row.tenant_allowed_providers),
            key_requests_per_minute=row.rate_limit_override or default_requests_per_minute or None,
            tenant_requests_per_minute=row.tenant_rate_limit,
            tags=MappingProxyType({str(name): str(value) for name, value in row.tags.items()}),
        ),
        digests=_digests(row),
        expires_at=None if row.expires_at is None else row.expires_at.timestamp(),
        refusal=_refusal(row),
    )


def _digests(row: KeyRow) -> tuple[SecretDigest, ...]:
    current = SecretDigest(row.pepper_id, row.digest)
    if row.previous_digest is None or row.previous_pepper_id is None or row.previous_expires_at is None:
        return (current,)
    return current, SecretDigest(row.previous_pepper_id, row.previous_digest, row.previous_expires_at.timestamp())


def _refusal(row: KeyRow) -> str | None:
    if row.status != "active":
        return "This API key has been revoked. Create a new one or ask an administrator."
    if not row.is_tenant_active:
        return "The organisation of this API key is suspended. Ask an administrator."
    if not row.is_user_active:
        return "The owner of this API key is disabled. Ask an administrator."
    return None


def _both(first: Collection[str] | None, second: Collection[str] | None) -> frozenset[str] | None:
    """What two allow-lists have in common; of two patterns one inside the other, the narrower."""
    if first is None:
        return None if second is None else frozenset(second)
    if second is None:
        return frozenset(first)
    ours, theirs = frozenset(first), frozenset(second)
    return frozenset(
        {name for name in ours if name_allowed(name, theirs)} | {name for name in theirs if name_allowed(name, ours)}
    )
