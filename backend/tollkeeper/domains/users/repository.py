"""Rows of users. A deleted user keeps a row without a person: usage, keys and the audit trail name its id."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.permissions import Role
from tollkeeper.db.models import RefreshSession, Tenant, User

# Nobody has an address here (RFC 2606), so it marks what is deleted.
DELETED_DOMAIN: Final = "@deleted.invalid"


def add(session: AsyncSession, row: User) -> None:
    session.add(row)


async def find(session: AsyncSession, user_id: UUID) -> User | None:
    return (await session.scalars(_present().where(User.id == user_id))).one_or_none()


async def find_locked(session: AsyncSession, user_id: UUID) -> User | None:
    query = _present().where(User.id == user_id).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(query)).one_or_none()


async def find_by_email(session: AsyncSession, email: str) -> User | None:
    return (await session.scalars(_present().where(func.lower(User.email) == email.lower()))).one_or_none()


async def list_page(
    session: AsyncSession, tenant_id: UUID, *, role: Role | None, after: UUID | None, limit: int
) -> Sequence[User]:
    """Newest first."""
    query = _present().where(User.tenant_id == tenant_id)
    if role is not None:
        query = query.where(User.role == role.value)
    if after is not None:
        query = query.where(User.id < after)
    return (await session.scalars(query.order_by(User.id.desc()).limit(limit))).all()


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


def _present() -> Select[User]:
    return select(User).where(User.email.not_like(f"%{DELETED_DOMAIN}"))
