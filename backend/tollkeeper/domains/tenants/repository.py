"""Rows of tenants, and what each has spent this month. A deleted tenant keeps a row: the ledger names its id."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models import Tenant, UsageRollup

DELETED_SLUG: Final = "~deleted-"


def add(session: AsyncSession, row: Tenant) -> None:
    session.add(row)


async def find(session: AsyncSession, tenant_id: UUID) -> Tenant | None:
    return (await session.scalars(_present().where(Tenant.id == tenant_id))).one_or_none()


async def find_locked(session: AsyncSession, tenant_id: UUID) -> Tenant | None:
    query = _present().where(Tenant.id == tenant_id).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(query)).one_or_none()


async def list_page(session: AsyncSession, *, after: UUID | None, limit: int) -> Sequence[Tenant]:
    """Newest first; row-level security leaves a tenant's own caller with their own."""
    query = _present()
    if after is not None:
        query = query.where(Tenant.id < after)
    return (await session.scalars(query.order_by(Tenant.id.desc()).limit(limit))).all()


async def spent_since(session: AsyncSession, tenant_ids: Sequence[UUID], moment: datetime) -> Mapping[UUID, int]:
    """Nano-dollars charged, by tenant; a tenant without usage is left out."""
    query = (
        select(UsageRollup.tenant_id, func.sum(UsageRollup.charge_nano))
        .where(UsageRollup.tenant_id.in_(tenant_ids), UsageRollup.hour >= moment)
        .group_by(UsageRollup.tenant_id)
    )
    return {tenant_id: int(nano) for tenant_id, nano in await session.execute(query)}


async def slug_exists(session: AsyncSession, slug: str) -> bool:
    return await session.scalar(select(Tenant.id).where(Tenant.slug == slug)) is not None


def _present() -> Select[Tenant]:
    return select(Tenant).where(Tenant.slug.not_like(f"{DELETED_SLUG}%"))
