"""Rows of refresh sessions, and of users as signing in needs them.

A family is one sign-in: each refresh adds a row and marks the one before as replaced. Ending it marks all of its rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.permissions import Role as BuiltInRole
from tollkeeper.core.permissions import permissions_of
from tollkeeper.db.models import Member, RefreshSession, Role, SecondFactor, SystemState, Tenant, UsageRollup, User
from tollkeeper.domains.identity.lifetime import TOUCH_EVERY
from tollkeeper.web.caller import Identity, SessionIdentity

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
        Tenant.suspension_reason,
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
    session: AsyncSession, user_id: UUID, family_id: UUID, tenant_id: UUID, now: datetime, idle: timedelta
) -> tuple[SessionIdentity, datetime] | None:
    """With the session's last use. None when no row of the family is in force in that tenant."""
    in_force = and_(
        RefreshSession.family_id == family_id,
        RefreshSession.user_id == user_id,
        RefreshSession.tenant_id == tenant_id,
        RefreshSession.revoked_at.is_(None),
        RefreshSession.expires_at > now,
    )
    alive = (
        select(
            func.max(RefreshSession.authenticated_at).label("authenticated_at"),
            func.max(RefreshSession.method).label("method"),
            func.max(func.coalesce(RefreshSession.last_used_at, RefreshSession.created_at)).label("used_at"),
            func.max(RefreshSession.epoch).label("epoch"),
        )
        .where(in_force)
        .having(func.count() > 0)
        .subquery()
    )
    query = _IDENTITY.add_columns(alive.c.authenticated_at, alive.c.method, alive.c.used_at).join(alive, true())
    query = query.where(
        Member.user_id == user_id,
        Member.tenant_id == tenant_id,
        alive.c.used_at >= now - idle,
        alive.c.epoch == User.session_epoch,
    )
    row = (await session.execute(query)).first()
    if row is None:
        return None
    return SessionIdentity(_identity(row), family_id, row.authenticated_at, row.method), row.used_at


async def list_identities(session: AsyncSession, user_id: UUID) -> Sequence[Identity]:
    """The user as a member of each of their tenants, the one that manages the account first."""
    query = _IDENTITY.where(Member.user_id == user_id)
    rows = await session.execute(query.order_by((Member.tenant_id == User.tenant_id).desc(), Tenant.name, Tenant.id))
    return [_identity(row) for row in rows]


async def find_account(session: AsyncSession, email: str) -> Account | None:
    """A person, as a member of the tenant that manages the account."""
    return await _find_account(session, func.lower(User.email) == email.lower())


async def find_account_of(session: AsyncSession, user_id: UUID) -> Account | None:
    return await _find_account(session, User.id == user_id)


async def _find_account(session: AsyncSession, condition: ColumnElement[bool]) -> Account | None:
    query = _IDENTITY.add_columns(User.password_hash).where(
        condition, Member.tenant_id == User.tenant_id, User.kind == "person"
    )
    row = (await session.execute(query)).first()
    return None if row is None else Account(_identity(row), row.password_hash)


async def find_user(session: AsyncSession, user_id: UUID) -> User | None:
    return await session.get(User, user_id)


async def lock_user(session: AsyncSession, user_id: UUID) -> User | None:
    query = select(User).where(User.id == user_id).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(query)).one_or_none()


async def find_token(session: AsyncSession, digest: bytes) -> RefreshSession | None:
    return (await session.scalars(select(RefreshSession).where(RefreshSession.token_digest == digest))).one_or_none()


async def find_token_locked(session: AsyncSession, digest: bytes) -> RefreshSession | None:
    """Two refreshes with one token come one after the other; the second sees that it was replaced."""
    query = select(RefreshSession).where(RefreshSession.token_digest == digest).with_for_update()
    return (await session.scalars(query)).one_or_none()


async def created_at_of(session: AsyncSession, session_id: UUID) -> datetime | None:
    return await session.scalar(select(RefreshSession.created_at).where(RefreshSession.id == session_id))


async def expiry_of(session: AsyncSession, family_id: UUID) -> datetime | None:
    """When the family ends at the latest; every row of it says the same."""
    query = select(RefreshSession.expires_at).where(RefreshSession.family_id == family_id).limit(1)
    return await session.scalar(query)


def add(session: AsyncSession, row: RefreshSession) -> None:
    session.add(row)


async def touch(session: AsyncSession, family_id: UUID, now: datetime) -> None:
    """Of the family's newest rows, whose cookies are in use."""
    await session.execute(
        update(RefreshSession)
        .where(
            RefreshSession.family_id == family_id,
            RefreshSession.replaced_by.is_(None),
            RefreshSession.revoked_at.is_(None),
            or_(RefreshSession.last_used_at.is_(None), RefreshSession.last_used_at < now - TOUCH_EVERY),
        )
        .values(last_used_at=now)
        .execution_options(synchronize_session=False)
    )


async def renew_proof(session: AsyncSession, family_id: UUID, user_id: UUID, now: datetime, method: str) -> bool:
    """False when the session has ended."""
    result = await session.execute(
        update(RefreshSession)
        .where(
            RefreshSession.family_id == family_id,
            RefreshSession.user_id == user_id,
            RefreshSession.revoked_at.is_(None),
        )
        .values(authenticated_at=now, method=method)
        .returning(RefreshSession.id)
        .execution_options(synchronize_session=False)
    )
    return result.first() is not None


async def list_in_force(
    session: AsyncSession, user_id: UUID, epoch: int, now: datetime, idle: timedelta
) -> Sequence[Row[*tuple[Any, ...]]]:
    """One row for each of the user's sign-ins, last used first."""
    used_at = func.max(func.coalesce(RefreshSession.last_used_at, RefreshSession.created_at))
    newest = aggregate_order_by(RefreshSession.user_agent, RefreshSession.created_at.desc())
    newest_address = aggregate_order_by(RefreshSession.address, RefreshSession.created_at.desc())
    query = (
        select(
            RefreshSession.family_id,
            RefreshSession.tenant_id,
            Tenant.name.label("tenant_name"),
            func.min(RefreshSession.created_at).label("created_at"),
            func.max(RefreshSession.expires_at).label("expires_at"),
            func.max(RefreshSession.authenticated_at).label("authenticated_at"),
            func.max(RefreshSession.method).label("method"),
            used_at.label("used_at"),
            func.array_agg(newest).label("agents"),
            func.array_agg(newest_address).label("addresses"),
        )
        .join(Tenant, Tenant.id == RefreshSession.tenant_id)
        .where(
            RefreshSession.user_id == user_id,
            RefreshSession.epoch == epoch,
            RefreshSession.revoked_at.is_(None),
            RefreshSession.expires_at > now,
        )
        .group_by(RefreshSession.family_id, RefreshSession.tenant_id, Tenant.name)
        .having(used_at >= now - idle)
        .order_by(used_at.desc(), RefreshSession.family_id)
    )
    return (await session.execute(query)).all()


async def end_all_of(session: AsyncSession, user_id: UUID, now: datetime, *, tenant_id: UUID | None = None) -> None:
    """Every session of the user, or those that work in one tenant."""
    query = update(RefreshSession).where(RefreshSession.user_id == user_id, RefreshSession.revoked_at.is_(None))
    if tenant_id is not None:
        query = query.where(RefreshSession.tenant_id == tenant_id)
    await session.execute(query.values(revoked_at=now).execution_options(synchronize_session=False))


async def end_own(session: AsyncSession, family_id: UUID, user_id: UUID, now: datetime) -> bool:
    """False when the user has no such session."""
    result = await session.execute(
        update(RefreshSession)
        .where(
            RefreshSession.family_id == family_id,
            RefreshSession.user_id == user_id,
            RefreshSession.revoked_at.is_(None),
        )
        .values(revoked_at=now)
        .returning(RefreshSession.id)
        .execution_options(synchronize_session=False)
    )
    return result.first() is not None


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
        why = f": {row.suspension_reason.rstrip('.')}" if row.suspension_reason else ""
        refusal = f"Your organisation is suspended{why}. Ask an administrator."
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
