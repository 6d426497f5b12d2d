"""Rows of users. A deleted user keeps a row without a person: usage, keys and the audit trail name its id."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.permissions import Permission, permissions_of
from tollkeeper.db.models import Member, RefreshSession, Role, Tenant, User

# Nobody has an address here (RFC 2606), so it marks what is deleted.
DELETED_DOMAIN: Final = "@deleted.invalid"


@dataclass(frozen=True, slots=True)
class Membership:
    """A user's part in one tenant. `role` is the name a person reads."""

    row: Member
    role: str
    permissions: frozenset[Permission]


_MEMBERSHIP: Final[Select[*tuple[Any, ...]]] = (
    select(User, Member, Role.name.label("role_name"), Role.permissions.label("role_permissions"))
    .join_from(User, Member, Member.user_id == User.id)
    .outerjoin(Role, and_(Role.tenant_id == Member.tenant_id, Role.id == Member.role_id))
    .where(Member.removed_at.is_(None), User.email.not_like(f"%{DELETED_DOMAIN}"))
)


def add(session: AsyncSession, row: User | Member) -> None:
    session.add(row)


async def find(session: AsyncSession, user_id: UUID) -> User | None:
    return (await session.scalars(_present().where(User.id == user_id))).one_or_none()


async def find_locked(session: AsyncSession, user_id: UUID) -> User | None:
    query = _present().where(User.id == user_id).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(query)).one_or_none()


async def find_by_email(session: AsyncSession, email: str) -> User | None:
    return (await session.scalars(_present().where(func.lower(User.email) == email.lower()))).one_or_none()


async def list_page(
    session: AsyncSession, tenant_id: UUID, *, role: str | None, after: UUID | None, limit: int
) -> Sequence[tuple[User, Membership]]:
    """Newest first."""
    query = _MEMBERSHIP.where(Member.tenant_id == tenant_id)
    if role is not None:
        query = query.where(func.coalesce(Role.name, Member.role) == role)
    if after is not None:
        query = query.where(User.id < after)
    rows = await session.execute(query.order_by(User.id.desc()).limit(limit))
    return [(row.User, _membership(row)) for row in rows]


async def find_membership(session: AsyncSession, user_id: UUID, tenant_id: UUID) -> Membership | None:
    row = (await session.execute(_MEMBERSHIP.where(User.id == user_id, Member.tenant_id == tenant_id))).first()
    return None if row is None else _membership(row)


async def list_of_tenant(session: AsyncSession, tenant_id: UUID) -> Sequence[User]:
    query = _present().where(User.tenant_id == tenant_id).order_by(User.id)
    return (await session.scalars(query.with_for_update())).all()


async def tenant_exists(session: AsyncSession, tenant_id: UUID) -> bool:
    return await session.scalar(select(Tenant.id).where(Tenant.id == tenant_id)) is not None


async def end_sessions(session: AsyncSession, user_id: UUID, now: datetime) -> None:
    """Every refresh session of the user; access tokens end by the raised epoch."""
    await session.execute(
        update(RefreshSession)
        .where(RefreshSession.user_id == user_id, RefreshSession.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def _membership(row: Row[*tuple[Any, ...]]) -> Membership:
    member: Member = row.Member
    return Membership(member, row.role_name or member.role, permissions_of(member.role, row.role_permissions))


def _present() -> Select[User]:
    return select(User).where(User.email.not_like(f"%{DELETED_DOMAIN}"))
