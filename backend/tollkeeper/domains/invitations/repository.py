"""Rows of invitations. A token is found by its digest, over all tenants."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.permissions import permissions_of
from tollkeeper.db.models import Invitation, Role, TeamMember, Tenant
from tollkeeper.domains.roles.service import GivenRole


@dataclass(frozen=True, slots=True)
class Listed:
    """An invitation with the role it gives."""

    row: Invitation
    role: GivenRole


_LISTED: Final[Select[*tuple[Any, ...]]] = select(
    Invitation, Role.name.label("role_name"), Role.permissions.label("role_permissions")
).outerjoin(Role, and_(Role.tenant_id == Invitation.tenant_id, Role.id == Invitation.role_id))


def add(session: AsyncSession, row: Invitation) -> None:
    session.add(row)


async def find(session: AsyncSession, invitation_id: UUID) -> Listed | None:
    row = (await session.execute(_LISTED.where(Invitation.id == invitation_id))).first()
    return None if row is None else _listed(row)


async def find_locked(session: AsyncSession, invitation_id: UUID) -> Listed | None:
    return await _first_locked(session, Invitation.id == invitation_id)


async def find_by_digest(session: AsyncSession, digest: bytes) -> Invitation | None:
    return (await session.scalars(select(Invitation).where(Invitation.digest == digest))).one_or_none()


async def find_by_digest_locked(session: AsyncSession, digest: bytes) -> Listed | None:
    """Two who use one link come one after the other."""
    return await _first_locked(session, Invitation.digest == digest)


async def find_open(session: AsyncSession, tenant_id: UUID, email: str, now: datetime) -> Invitation | None:
    query = select(Invitation).where(
        Invitation.tenant_id == tenant_id, func.lower(Invitation.email) == email.lower(), _has_status("open", now)
    )
    return (await session.scalars(query.limit(1))).first()


async def list_page(
    session: AsyncSession, tenant_id: UUID, *, status: str | None, now: datetime, after: UUID | None, limit: int
) -> Sequence[Listed]:
    """Newest first."""
    query = _LISTED.where(Invitation.tenant_id == tenant_id)
    if status is not None:
        query = query.where(_has_status(status, now))
    if after is not None:
        query = query.where(Invitation.id < after)
    return [_listed(row) for row in await session.execute(query.order_by(Invitation.id.desc()).limit(limit))]


async def find_tenant(session: AsyncSession, tenant_id: UUID) -> Tenant | None:
    return await session.get(Tenant, tenant_id)


async def join_team(session: AsyncSession, tenant_id: UUID, team_id: UUID, user_id: UUID) -> None:
    if await session.get(TeamMember, (tenant_id, team_id, user_id)) is None:
        session.add(TeamMember(tenant_id=tenant_id, team_id=team_id, user_id=user_id))
        await session.flush()


async def _first_locked(session: AsyncSession, condition: ColumnElement[bool]) -> Listed | None:
    query = _LISTED.where(condition).with_for_update(of=Invitation).execution_options(populate_existing=True)
    row = (await session.execute(query)).first()
    return None if row is None else _listed(row)


def _listed(row: Row[*tuple[Any, ...]]) -> Listed:
    invitation: Invitation = row.Invitation
    permissions = permissions_of(invitation.role, row.role_permissions)
    name = row.role_name or invitation.role
    return Listed(invitation, GivenRole(invitation.role, invitation.role_id, name, permissions))


def _has_status(status: str, now: datetime) -> ColumnElement[bool]:
    if status == "accepted":
        return Invitation.accepted_at.is_not(None)
    if status == "revoked":
        return and_(Invitation.revoked_at.is_not(None), Invitation.accepted_at.is_(None))
    is_over = Invitation.expires_at <= now
    is_pending = and_(Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))
    return and_(is_pending, is_over if status == "expired" else ~is_over)
