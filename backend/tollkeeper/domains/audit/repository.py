"""Rows of the audit trail."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models import AuditLog


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a tenant's chain, and the database's time."""

    sequence: int
    hash: bytes | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    action: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    actor_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def lock_head(session: AsyncSession, tenant_id: UUID) -> Head:
    """Until the transaction ends nobody else appends to this tenant's chain, so its sequence has no gap."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended('audit ' || :tenant, 0))"), {"tenant": tenant_id.hex}
    )
    # A statement of its own: begun after the lock was given, it sees what the holder before us committed.
    row = (
        await session.execute(
            select(AuditLog.sequence, AuditLog.hash)
            .where(AuditLog.tenant_id == tenant_id)
            .order_by(AuditLog.sequence.desc())
            .limit(1)
        )
    ).first()
    now = await session.scalar(select(func.clock_timestamp()))
    assert now is not None
    return Head(0, None, now) if row is None else Head(row.sequence, row.hash, now)


def add(session: AsyncSession, row: AuditLog) -> None:
    session.add(row)


async def list_page(
    session: AsyncSession, tenant_id: UUID, wanted: Filter, *, before: int | None, limit: int
) -> Sequence[AuditLog]:
    """Newest first."""
    query = select(AuditLog).where(AuditLog.tenant_id == tenant_id)
    for column, value in (
        (AuditLog.action, wanted.action),
        (AuditLog.object_type, wanted.object_type),
        (AuditLog.object_id, wanted.object_id),
        (AuditLog.actor_id, wanted.actor_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(AuditLog.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditLog.created_at < wanted.until)
    if before is not None:
        query = query.where(AuditLog.sequence < before)
    return (await session.scalars(query.order_by(AuditLog.sequence.desc()).limit(limit))).all()


async def in_order(session: AsyncSession, tenant_id: UUID, *, batch: int = 1000) -> AsyncIterator[AuditLog]:
    """Every record of a tenant, oldest first, a batch in memory at a time."""
    after: tuple[int, UUID] | None = None
    while True:
        query = select(AuditLog).where(AuditLog.tenant_id == tenant_id)
        if after is not None:
            query = query.where(
                (AuditLog.sequence > after[0]) | ((AuditLog.sequence == after[0]) & (AuditLog.id > after[1]))
            )
        rows = (await session.scalars(query.order_by(AuditLog.sequence, AuditLog.id).limit(batch))).all()
        for row in rows:
            yield row
        if len(rows) < batch:
            return
        after = (rows[-1].sequence, rows[-1].id)
        session.expunge_all()
