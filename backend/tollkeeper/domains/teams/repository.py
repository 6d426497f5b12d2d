"""Rows of teams and of their members."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models import ApiKey, Invitation, Member, Project, Team, TeamMember, User


@dataclass(frozen=True, slots=True)
class Filter:
    is_active: bool | None = None
    user_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class ListedMember:
    """`email` is None for a service account."""

    user_id: UUID
    name: str
    email: str | None
    role: str
    source: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Contents:
    """What keeps a team from being deleted."""

    projects: int
    keys: int


def add(session: AsyncSession, row: Team) -> None:
    session.add(row)


async def remove(session: AsyncSession, row: Team) -> None:
    """With its members. Revoked keys and invitations stay, without the team."""
    inside = (ApiKey.tenant_id == row.tenant_id, ApiKey.team_id == row.id, ApiKey.status != "active")
    invited = (Invitation.tenant_id == row.tenant_id, Invitation.team_id == row.id)
    for statement in (
        update(ApiKey).where(*inside).values(team_id=None, updated_at=ApiKey.updated_at),
        update(Invitation).where(*invited).values(team_id=None, updated_at=Invitation.updated_at),
    ):
        await session.execute(statement.execution_options(synchronize_session=False))
    await session.delete(row)


async def find(session: AsyncSession, team_id: UUID) -> Team | None:
    return (await session.scalars(select(Team).where(Team.id == team_id))).one_or_none()


async def find_in(session: AsyncSession, tenant_id: UUID, team_id: UUID) -> Team | None:
    query = select(Team).where(Team.tenant_id == tenant_id, Team.id == team_id)
    return (await session.scalars(query)).one_or_none()


async def find_locked(session: AsyncSession, team_id: UUID) -> Team | None:
    query = select(Team).where(Team.id == team_id).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(query)).one_or_none()


async def list_page(
    session: AsyncSession, tenant_id: UUID, wanted: Filter, *, after: UUID | None, limit: int
) -> Sequence[Team]:
    """Newest first."""
    query = select(Team).where(Team.tenant_id == tenant_id)
    if wanted.is_active is not None:
        query = query.where(Team.is_active == wanted.is_active)
    if wanted.user_id is not None:
        mine = select(TeamMember.team_id).where(TeamMember.tenant_id == tenant_id, TeamMember.user_id == wanted.user_id)
        query = query.where(Team.id.in_(mine))
    if after is not None:
        query = query.where(Team.id < after)
    return (await session.scalars(query.order_by(Team.id.desc()).limit(limit))).all()


async def contents(session: AsyncSession, row: Team) -> Contents:
    projects = select(func.count()).where(Project.tenant_id == row.tenant_id, Project.team_id == row.id)
    keys = select(func.count()).where(
        ApiKey.tenant_id == row.tenant_id, ApiKey.team_id == row.id, ApiKey.status == "active"
    )
    found = (await session.execute(select(projects.scalar_subquery(), keys.scalar_subquery()))).one()
    return Contents(*found)


async def role_of(session: AsyncSession, tenant_id: UUID, team_id: UUID, user_id: UUID) -> str | None:
    query = select(TeamMember.role).where(
        TeamMember.tenant_id == tenant_id, TeamMember.team_id == team_id, TeamMember.user_id == user_id
    )
    return await session.scalar(query)


async def list_members(session: AsyncSession, row: Team, *, after: UUID | None, limit: int) -> Sequence[ListedMember]:
    query = _members(row)
    if after is not None:
        query = query.where(TeamMember.user_id < after)
    rows = await session.execute(query.order_by(TeamMember.user_id.desc()).limit(limit))
    return [_listed(found) for found in rows]


async def find_member(session: AsyncSession, row: Team, user_id: UUID) -> ListedMember | None:
    found = (await session.execute(_members(row).where(TeamMember.user_id == user_id))).first()
    return None if found is None else _listed(found)


async def is_in_tenant(session: AsyncSession, tenant_id: UUID, user_id: UUID) -> bool:
    query = select(Member.id).where(
        Member.tenant_id == tenant_id, Member.user_id == user_id, Member.removed_at.is_(None)
    )
    return await session.scalar(query) is not None


async def put_member(session: AsyncSession, row: Team, user_id: UUID, role: str) -> None:
    values = {"role": role, "source": "manual"}
    await session.execute(
        insert(TeamMember)
        .values(tenant_id=row.tenant_id, team_id=row.id, user_id=user_id, **values)
        .on_conflict_do_update(index_elements=["tenant_id", "team_id", "user_id"], set_=values)
    )


async def remove_member(session: AsyncSession, row: Team, user_id: UUID) -> bool:
    """Whether there was one."""
    statement = delete(TeamMember).where(
        TeamMember.tenant_id == row.tenant_id, TeamMember.team_id == row.id, TeamMember.user_id == user_id
    )
    return (await session.execute(statement.returning(TeamMember.user_id))).first() is not None


def _members(row: Team) -> Select[*tuple[Any, ...]]:
    return (
        select(TeamMember, User.name, User.email, User.kind)
        .join(User, User.id == TeamMember.user_id)
        .where(TeamMember.tenant_id == row.tenant_id, TeamMember.team_id == row.id)
    )


def _listed(found: Row[*tuple[Any, ...]]) -> ListedMember:
    row: TeamMember = found.TeamMember
    email = None if found.kind == "service" else found.email
    return ListedMember(row.user_id, found.name, email, row.role, row.source, row.created_at)
