"""Rows of the roles that tenants made, and who holds them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models import Invitation, Member, Role


def add(session: AsyncSession, row: Role) -> None:
    session.add(row)


async def find(session: AsyncSession, role_id: UUID) -> Role | None:
    return (await session.scalars(select(Role).where(Role.id == role_id))).one_or_none()


async def find_locked(session: AsyncSession, role_id: UUID) -> Role | None:
    query = select(Role).where(Role.id == role_id).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(query)).one_or_none()


async def find_by_name(session: AsyncSession, tenant_id: UUID, name: str) -> Role | None:
    query = select(Role).where(Role.tenant_id == tenant_id, func.lower(Role.name) == name.lower())
    return (await session.scalars(query)).one_or_none()


async def list_page(session: AsyncSession, tenant_id: UUID, *, after: UUID | None, limit: int) -> Sequence[Role]:
    """Oldest first, as they follow the built-in ones."""
    query = select(Role).where(Role.tenant_id == tenant_id)
    if after is not None:
        query = query.where(Role.id > after)
    return (await session.scalars(query.order_by(Role.id).limit(limit))).all()


async def count_members(session: AsyncSession, role_id: UUID) -> int:
    return await session.scalar(select(func.count()).select_from(Member).where(Member.role_id == role_id)) or 0


async def count_open_invitations(session: AsyncSession, role_id: UUID, now: datetime) -> int:
    query = select(func.count()).select_from(Invitation)
    return await session.scalar(query.where(Invitation.role_id == role_id, ~_is_closed(now))) or 0


async def remove(session: AsyncSession, row: Role, now: datetime) -> None:
    """With the invitations to it that are over; the audit trail remembers them."""
    await session.execute(delete(Invitation).where(Invitation.role_id == row.id, _is_closed(now)))
    await session.delete(row)
    await session.flush()


def _is_closed(now: datetime) -> ColumnElement[bool]:
    return or_(Invitation.accepted_at.is_not(None), Invitation.revoked_at.is_not(None), Invitation.expires_at <= now)
