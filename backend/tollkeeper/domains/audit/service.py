"""Recording changes and proving that no record was changed since.

`record` is called by every writing service in the transaction of the change: there is no change without its record.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.ids import uuid7
from tollkeeper.db.models import AuditLog
from tollkeeper.domains.audit import repository
from tollkeeper.domains.audit.repository import Filter
from tollkeeper.domains.audit.schemas import GENESIS, SYSTEM, Actor, ActorView, AuditView, ChainReport, Entry, plain
from tollkeeper.web.caller import Caller

__all__ = ["SYSTEM", "Actor", "Filter", "changes", "list_page", "record", "verify_chain", "view"]


async def record(
    session: AsyncSession,
    caller: Caller | Actor,
    action: str,
    object_type: str,
    object_id: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    *,
    tenant_id: UUID | None = None,
) -> None:
    """Append to the tenant's chain; without `tenant_id` to the caller's. `before` and `after` never hold a secret."""
    if isinstance(caller, Caller):
        actor = Actor.of(caller)
        tenant_id = tenant_id or caller.tenant_id
    else:
        actor = caller
    assert tenant_id is not None, "work without a caller names the tenant"
    head = await repository.lock_head(session, tenant_id)
    entry = Entry(
        id=uuid7(),
        tenant_id=tenant_id,
        sequence=head.sequence + 1,
        actor_type=actor.type,
        actor_id=actor.id,
        actor_name=actor.name,
        action=action,
        object_type=object_type,
        object_id=object_id,
        before=None if before is None else plain(before),
        after=None if after is None else plain(after),
        request_id=actor.request_id,
        address=actor.address,
        created_at=head.now,
    )
    previous = head.hash or GENESIS
    repository.add(
        session,
        AuditLog(
            id=entry.id,
            tenant_id=entry.tenant_id,
            sequence=entry.sequence,
            previous_hash=previous,
            hash=entry.hash_after(previous),
            actor_type=entry.actor_type,
            actor_id=entry.actor_id,
            actor_name=entry.actor_name,
            action=entry.action,
            object_type=entry.object_type,
            object_id=entry.object_id,
            before=entry.before,
            after=entry.after,
            request_id=entry.request_id,
            address=entry.address,
            created_at=entry.created_at,
        ),
    )
    await session.flush()


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Only what differs, for the record of an update."""
    names = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}


async def list_page(
    session: AsyncSession, tenant_id: UUID, wanted: Filter, *, before: int | None, limit: int
) -> Sequence[AuditLog]:
    return await repository.list_page(session, tenant_id, wanted, before=before, limit=limit)


def view(row: AuditLog) -> AuditView:
    entry = Entry.of(row)
    return AuditView(
        id=entry.id,
        tenant_id=entry.tenant_id,
        sequence=entry.sequence,
        actor=ActorView(type=entry.actor_type, id=entry.actor_id, name=entry.actor_name),
        action=entry.action,
        object_type=entry.object_type,
        object_id=entry.object_id,
        before=None if entry.before is None else dict(entry.before),
        after=None if entry.after is None else dict(entry.after),
        request_id=entry.request_id,
        address=entry.address,
        created_at=entry.created_at,
        hash=row.hash.hex(),
    )


async def verify_chain(session: AsyncSession, tenant_id: UUID, *, head: bytes | None = None) -> ChainReport:
    """Walk the whole chain. With `head`, a hash noted earlier, also prove that the record it belongs to is still there."""
    previous, sequence = GENESIS, 0
    is_head_seen = head is None or head == GENESIS
    async for row in repository.in_order(session, tenant_id):
        problem = _problem(row, sequence, previous)
        if problem is not None:
            return _report(tenant_id, sequence, previous, broken_at=row.sequence, problem=problem)
        previous, sequence = row.hash, row.sequence
        is_head_seen = is_head_seen or previous == head
    if not is_head_seen:
        return _report(
            tenant_id, sequence, previous, broken_at=sequence + 1, problem="The noted head is gone: the tail was cut."
        )
    return _report(tenant_id, sequence, previous)


def _problem(row: AuditLog, sequence: int, previous: bytes) -> str | None:
    if row.sequence != sequence + 1:
        return f"Record {sequence + 1} is missing or out of order."
    if row.previous_hash != previous:
        return "The record does not follow the one before it."
    if Entry.of(row).hash_after(previous) != row.hash:
        return "The record was changed after it was written."
    return None


def _report(
    tenant_id: UUID, sequence: int, head: bytes, *, broken_at: int | None = None, problem: str | None = None
) -> ChainReport:
    return ChainReport(
        tenant_id=tenant_id,
        is_intact=problem is None,
        records=sequence,
        head_sequence=sequence,
        head=head.hex(),
        broken_at=broken_at,
        problem=problem,
    )
