"""Rows of projects."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models import ApiKey, Project, Tenant


@dataclass(frozen=True, slots=True)
class Filter:
    is_active: bool | None = None
    team_id: UUID | None = None


def add(session: AsyncSession, row: Project) -> None:
    session.add(row)


async def remove(session: AsyncSession, row: Project) -> None:
    """Revoked keys stay, without the project."""
    await session.execute(
        update(ApiKey)
        .where(ApiKey.tenant_id == row.tenant_id, ApiKey.project_id == row.id, ApiKey.status != "active")
        .values(project_id=None, updated_at=ApiKey.updated_at)
        .execution_options(synchronize_session=False)
    )
    await session.delete(row)


async def find(session: AsyncSession, project_id: UUID) -> Project | None:
    return (await session.scalars(select(Project).where(Project.id == project_id))).one_or_none()


async def find_in(session: AsyncSession, tenant_id: UUID, project_id: UUID) -> Project | None:
    query = select(Project).where(Project.tenant_id == tenant_id, Project.id == project_id)
    return (await session.scalars(query)).one_or_none()


async def teams_of(session: AsyncSession, project_ids: Collection[UUID]) -> dict[UUID, UUID]:
    query = select(Project.id, Project.team_id).where(Project.id.in_(project_ids), Project.team_id.is_not(None))
    return {project_id: team_id for project_id, team_id in await session.execute(query) if team_id is not None}


async def find_locked(session: AsyncSession, project_id: UUID) -> Project | None:
    query = select(Project).where(Project.id == project_id).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(query)).one_or_none()


async def list_page(
    session: AsyncSession, tenant_id: UUID, wanted: Filter, *, after: UUID | None, limit: int
) -> Sequence[Project]:
    """Newest first."""
    query = select(Project).where(Project.tenant_id == tenant_id)
    if wanted.is_active is not None:
        query = query.where(Project.is_active == wanted.is_active)
    if wanted.team_id is not None:
        query = query.where(Project.team_id == wanted.team_id)
    if after is not None:
        query = query.where(Project.id < after)
    return (await session.scalars(query.order_by(Project.id.desc()).limit(limit))).all()


async def active_keys(session: AsyncSession, row: Project) -> int:
    query = select(func.count()).where(
        ApiKey.tenant_id == row.tenant_id, ApiKey.project_id == row.id, ApiKey.status == "active"
    )
    return await session.scalar(query) or 0


async def flags_of_tenant(session: AsyncSession, tenant_id: UUID) -> Mapping[str, Any]:
    return await session.scalar(select(Tenant.flags).where(Tenant.id == tenant_id)) or {}
