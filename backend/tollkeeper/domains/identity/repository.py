"""Rows of refresh sessions, and of users as signing in needs them.

A family is one sign-in: each refresh adds a row and marks the one before as replaced. Ending it marks all of its rows.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, and_, func, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.permissions import Role as BuiltInRole
from tollkeeper.core.permissions import permissions_of
from tollkeeper.db.models import Member, RefreshSession, Role, SecondFactor, SystemState, Tenant, UsageRollup, User
from tollkeeper.web.caller import Identity, SessionIdentity

# A cookie is not written to the database each time it is used; this is how exact its last use is.
_TOUCH_EVERY: Final = timedelta(minutes=1)

_IDENTITY: Final[Select[*tuple[Any, ...]]] = (
    select(
        User.id,
        Member.tenant_id,
        User.email,
        User.name,
        User.tenant_id.label("home_tenant_id"),
        Member.role,
        Role.name.label("role_name"),
        Role.permissions.label("role_permissions"),
        User.session_epoch,
        and_(User.is_active, Member.is_active).label("is_user_active"),
        and_(Tenant.require_second_factor, User.kind == "person", SecondFactor.id.is_(None)).label("must_enrol"),
        Tenant.name.label("tenant_name"),
        Tenant.is_active.label("is_tenant_active"),
    )
    .join_from(Member, User, User.id == Member.user_id)
    .join(Tenant, Tenant.id == Member.tenant_id)
    .outerjoin(Role, and_(Role.tenant_id == Member.tenant_id, Role.id == Member.role_id))
    .outerjoin(
        SecondFactor,
        and_(
            SecondFactor.tenant_id == User.tenant_id,
            SecondFactor.user_id == User.id,
            SecondFactor.confirmed_at.is_not(None),
        ),
    )
    .where(Member.removed_at.is_(None))
)


@dataclass(frozen=True, slots=True)
class Account:
    """What proves a password, and who it would sign in."""

    identity: Identity
    password_hash: str | None


@dataclass(frozen=True, slots=True)
class MonthUsage:
    requests: int
    prompt_tokens: int
    completion_tokens: int
    charge_nano: int


async def find_identity(session: AsyncSession, user_id: UUID, tenant_id: UUID) -> Identity | None:
    """The user as a member of the tenant."""
    row = (await session.execute(_IDENTITY.where(Member.user_id == user_id, Member.tenant_id == tenant_id))).first()
    return None if row is None else _identity(row)


async def find_identity_of_session(
    session: AsyncSession, user_id: UUID, family_id: UUID, tenant_id: UUID, now: datetime
) -> SessionIdentity | None:
    """None when no row of the family is in force."""
    alive = (
        select(RefreshSession.authenticated_at, RefreshSession.method)
        .where(
            RefreshSession.family_id == family_id,
            RefreshSession.user_id == user_id,
            RefreshSession.revoked_at.is_(None),
            RefreshSession.expires_at > now,
        )
        .order_by(RefreshSession.authenticated_at.desc())
        .limit(1)
        .subquery()
    )
    query = _IDENTITY.add_columns(alive.c.authenticated_at, alive.c.method).join(alive, true())
    row = (await session.execute(query.where(Member.user_id == user_id, Member.tenant_id == tenant_id))).first()
    return None if row is None else SessionIdentity(_identity(row), family_id, row.authenticated_at, row.method)


async def find_account(session: AsyncSession, email: str) -> Account | None:
    """As a member of the tenant that manages the account."""
    query = _IDENTITY.add_columns(User.password_hash).where(
        func.lower(User.email) == email.lower(), Member.tenant_id == User.tenant_id
    )
    row = (await session.execute(query)).first()
    return None if row is None else Account(_identity(row), row.password_hash)


async def find_token(session: AsyncSession, digest: bytes) -> RefreshSession | None:
    return (await session.scalars(select(RefreshSession).where(RefreshSession.token_digest == digest))).one_or_none()


async def find_token_locked(session: AsyncSession, digest: bytes) -> RefreshSession | None:
    """Two refreshes with one token come one after the other; the second sees that it was replaced."""
    query = select(RefreshSession).where(RefreshSession.token_digest == digest).with_for_update()
    return (await session.scalars(query)).one_or_none()


async def created_at_of(session: AsyncSession, session_id: UUID) -> datetime | None:
    return await session.scalar(select(RefreshSession.created_at).where(RefreshSession.id == session_id))


def add(session: AsyncSession, row: RefreshSession) -> None:
    session.add(row)


async def touch(session: AsyncSession, row: RefreshSession, now: datetime) -> None:
    await session.execute(
        update(RefreshSession)
        .where(
            RefreshSession.id == row.id,
            or_(RefreshSession.last_used_at.is_(None), RefreshSession.last_used_at < now - _TOUCH_EVERY),
        )
        .values(last_used_at=now)
        .execution_options(synchronize_session=False)
    )


async def end_family(session: AsyncSession, family_id: UUID, now: datetime) -> None:
    await session.execute(
        update(RefreshSession)
        .where(RefreshSession.family_id == family_id, RefreshSession.revoked_at.is_(None))
        .values(revoked_at=now)
        .execution_options(synchronize_session=False)
    )


async def has_signed_in_from(session: AsyncSession, user_id: UUID, address: str) -> bool:
    query = select(RefreshSession.id).where(RefreshSession.user_id == user_id, RefreshSession.address == address)
    return await session.scalar(query.limit(1)) is not None


async def note_login(session: AsyncSession, user_id: UUID, now: datetime, password_hash: str | None) -> None:
    """Not a change of the user: its version and its `updated_at` stay."""
    values: dict[str, Any] = {"last_login_at": now, "updated_at": User.updated_at}
    if password_hash is not None:
        values["password_hash"] = password_hash
    await session.execute(
        update(User).where(User.id == user_id).values(values).execution_options(synchronize_session=False)
    )


async def find_tenant(session: AsyncSession, tenant_id: UUID) -> Tenant | None:
    return await session.get(Tenant, tenant_id)


async def find_tenant_by_name(session: AsyncSession, name: str) -> Tenant | None:
    return (await session.scalars(select(Tenant).where(func.lower(Tenant.name) == name.lower()))).one_or_none()


async def find_platform_admin(session: AsyncSession) -> User | None:
    query = (
        select(User)
        .join(Member, and_(Member.user_id == User.id, Member.tenant_id == User.tenant_id))
        .where(Member.role == BuiltInRole.PLATFORM_ADMIN.value, Member.removed_at.is_(None), User.is_active)
        .order_by(User.id)
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()


async def usage_since(session: AsyncSession, tenant_id: UUID, user_id: UUID | None, moment: datetime) -> MonthUsage:
    """Of one user, or of the tenant."""
    condition = and_(UsageRollup.tenant_id == tenant_id, UsageRollup.hour >= moment)
    if user_id is not None:
        condition = and_(condition, UsageRollup.user_id == user_id)
    sums = [
        func.coalesce(func.sum(column), 0)
        for column in (
            UsageRollup.requests,
            UsageRollup.prompt_tokens,
            UsageRollup.completion_tokens,
            UsageRollup.charge_nano,
        )
    ]
    row = (await session.execute(select(*sums).where(condition))).one()
    return MonthUsage(*(int(value) for value in row))


async def lock_first_run(session: AsyncSession) -> None:
    """Workers that start together make the first objects one after the other."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("first run", 0))))


async def get_state(session: AsyncSession, key: str) -> Any:
    return await session.scalar(select(SystemState.value).where(SystemState.key == key))


def set_state(session: AsyncSession, key: str, value: Any) -> None:
    session.add(SystemState(key=key, value=value))


def _identity(row: Row[*tuple[Any, ...]]) -> Identity:
    refusal = None
    if not row.is_tenant_active:
        refusal = "Your organisation is suspended. Ask an administrator."
    elif not row.is_user_active:
        refusal = "Your account is disabled. Ask an administrator."
    return Identity(
        user_id=row.id,
        tenant_id=row.tenant_id,
        tenant_name=row.tenant_name,
        home_tenant_id=row.home_tenant_id,
        email=row.email,
        name=row.name,
        role=row.role_name or row.role,
        permissions=permissions_of(row.role, row.role_permissions),
        session_epoch=row.session_epoch,
        refusal=refusal,
        must_enrol=row.must_enrol,
    )
