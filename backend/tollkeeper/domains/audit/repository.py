"""Rows of the audit trail."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from ipaddress import ip_network
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, cast, func, literal, select, text
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models import AuditLog


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a tenant's chain, and the database's time."""

    sequence: int
    hash: bytes | None
    now: datetime


@dataclass(frozen=True, slots=True)
class End:
    """The end of a tenant's chain as a job sees it; sequence 0 is a tenant without records."""

    tenant_id: UUID
    sequence: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Filter:
    """`action` may end with `*`; `address` is an address or a network."""

    action: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    actor_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    address: str | None = None
    request_id: UUID | None = None
    outcome: str | None = None

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


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
    query = select(AuditLog).where(AuditLog.tenant_id == tenant_id, *_conditions(wanted))
    if before is not None:
        query = query.where(AuditLog.sequence < before)
    return (await session.scalars(query.order_by(AuditLog.sequence.desc()).limit(limit))).all()


async def list_after(
    session: AsyncSession, tenant_id: UUID, wanted: Filter, *, after: int, last: int, limit: int
) -> Sequence[AuditLog]:
    """Oldest first, up to and with the record `last`."""
    query = (
        select(AuditLog)
        .where(AuditLog.tenant_id == tenant_id, AuditLog.sequence > after, AuditLog.sequence <= last)
        .where(*_conditions(wanted))
    )
    return (await session.scalars(query.order_by(AuditLog.sequence).limit(limit))).all()


async def newest_sequence(session: AsyncSession, tenant_id: UUID) -> int:
    return await session.scalar(select(func.max(AuditLog.sequence)).where(AuditLog.tenant_id == tenant_id)) or 0


async def hash_at(session: AsyncSession, tenant_id: UUID, sequence: int) -> bytes | None:
    query = select(AuditLog.hash).where(AuditLog.tenant_id == tenant_id, AuditLog.sequence == sequence)
    found: bytes | None = await session.scalar(query)
    return found


async def ends(session: AsyncSession, *, after: UUID | None, limit: int) -> Sequence[End]:
    """Of all tenants, in the order of their ids; one look into the index for each."""
    query = text(
        "SELECT tenants.id, newest.sequence, newest.hash FROM tenants LEFT JOIN LATERAL ("
        "SELECT sequence, hash FROM audit_logs WHERE tenant_id = tenants.id ORDER BY sequence DESC LIMIT 1"
        ") newest ON true WHERE CAST(:after AS uuid) IS NULL OR tenants.id > :after ORDER BY tenants.id LIMIT :limit"
    )
    rows = await session.execute(query, {"after": after, "limit": limit})
    return [End(tenant_id, sequence or 0, digest or b"") for tenant_id, sequence, digest in rows]


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


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        column == value
        for column, value in (
            (AuditLog.object_type, wanted.object_type),
            (AuditLog.object_id, wanted.object_id),
            (AuditLog.actor_id, wanted.actor_id),
            (AuditLog.request_id, wanted.request_id),
        )
        if value is not None
    ]
    if wanted.action is not None and wanted.action.endswith("*"):
        # As the index compares, so that it serves any plan; the characters of an action all have a next one.
        first = wanted.action[:-1]
        last = first[:-1] + chr(ord(first[-1]) + 1)
        conditions += [AuditLog.action.op("~>=~")(first), AuditLog.action.op("~<~")(last)]
    elif wanted.action is not None:
        conditions.append(AuditLog.action == wanted.action)
    if wanted.outcome is not None:
        # Written out: the index over refusals alone is of use only to a query that names them.
        conditions.append(AuditLog.outcome == literal(wanted.outcome, literal_execute=True))
    if wanted.since is not None:
        conditions.append(AuditLog.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(AuditLog.created_at < wanted.until)
    if wanted.address is not None:
        # A range, which an index serves whatever the plan; single addresses are all that is ever stored.
        network = ip_network(wanted.address)
        conditions.append(AuditLog.address >= cast(str(network.network_address), INET))
        conditions.append(AuditLog.address <= cast(str(network.broadcast_address), INET))
    return conditions
