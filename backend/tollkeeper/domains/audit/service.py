"""Recording changes and proving that no record was changed since.

`record` is called by every writing service in the transaction of the change: there is no change without its record.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.db.models import AuditLog
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import repository
from tollkeeper.domains.audit.masking import masked
from tollkeeper.domains.audit.repository import Filter
from tollkeeper.domains.audit.schemas import (
    GENESIS,
    SYSTEM,
    Actor,
    ActorView,
    AuditLine,
    AuditView,
    ChainReport,
    Entry,
    plain,
)
from tollkeeper.web.caller import Caller

__all__ = [
    "SYSTEM",
    "Actor",
    "Filter",
    "begin_export",
    "changes",
    "export",
    "line",
    "list_page",
    "record",
    "record_read",
    "verify_chain",
    "view",
]

_EXPORT_BATCH: Final = 500


class Vouched(Protocol):
    """A head as `heads.py` signs it."""

    @property
    def sequence(self) -> int: ...
    @property
    def hash(self) -> bytes: ...
    @property
    def signed_at(self) -> datetime: ...


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
    outcome: str = "success",
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
        before=None if before is None else masked(plain(before)),
        after=None if after is None else masked(plain(after)),
        request_id=actor.request_id,
        address=actor.address,
        created_at=head.now,
        outcome=outcome,
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
            outcome=entry.outcome,
        ),
    )
    await session.flush()


async def record_read(
    session: AsyncSession, caller: Caller, object_type: str, object_id: str, *, tenant_id: UUID | None = None
) -> None:
    """Somebody looked at stored content (a body of a call, a file): recorded in the transaction that read it."""
    await record(session, caller, f"{object_type}.read", object_type, object_id, tenant_id=tenant_id)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Only what differs, for the record of an update."""
    names = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}


async def list_page(
    session: AsyncSession, tenant_id: UUID, wanted: Filter, *, before: int | None, limit: int
) -> Sequence[AuditLog]:
    return await repository.list_page(session, tenant_id, wanted, before=before, limit=limit)


def view(row: AuditLog) -> AuditView:
    return AuditView.model_validate(_fields(row))


def line(row: AuditLog) -> AuditLine:
    return AuditLine.model_validate({**_fields(row), "previous_hash": row.previous_hash.hex()})


def _fields(row: AuditLog) -> dict[str, Any]:
    entry = Entry.of(row)
    return {
        "id": entry.id,
        "tenant_id": entry.tenant_id,
        "sequence": entry.sequence,
        "actor": ActorView(type=entry.actor_type, id=entry.actor_id, name=entry.actor_name),
        "action": entry.action,
        "object_type": entry.object_type,
        "object_id": entry.object_id,
        "before": entry.before,
        "after": entry.after,
        "request_id": entry.request_id,
        "address": entry.address,
        "outcome": entry.outcome,
        "created_at": entry.created_at,
        "hash": row.hash.hex(),
    }


async def begin_export(session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: Filter) -> int:
    """The last record that the export holds; that there was one is recorded behind it."""
    last = await repository.newest_sequence(session, tenant_id)
    after = {"format": "jsonl", "records_up_to": last, "filter": wanted.given()}
    tenant = format_id("ten", tenant_id)
    await record(session, caller, "audit.export", "tenant", tenant, None, after, tenant_id=tenant_id)
    return last


async def export(database: Database, tenant_id: UUID, wanted: Filter, *, last: int) -> AsyncIterator[bytes]:
    """JSON lines, oldest first. A batch in memory and a transaction for each, so that a slow reader holds nothing."""
    after = 0
    while True:
        async with database.tenant(tenant_id) as session:
            rows = await repository.list_after(session, tenant_id, wanted, after=after, last=last, limit=_EXPORT_BATCH)
        if rows:
            yield b"".join(line(row).model_dump_json().encode() + b"\n" for row in rows)
        if len(rows) < _EXPORT_BATCH:
            return
        after = rows[-1].sequence


async def verify_chain(
    session: AsyncSession, tenant_id: UUID, *, head: bytes | None = None, signed: Sequence[Vouched] = ()
) -> ChainReport:
    """Walk the whole chain, and hold it against what was known of it before.

    `head` is a hash that somebody noted: the record it belongs to must still be there. `signed` are heads of `heads.py`.
    """
    previous, sequence = GENESIS, 0
    is_head_seen = head is None or head == GENESIS
    vouched = {known.sequence: known for known in signed}
    async for row in repository.in_order(session, tenant_id):
        problem = _problem(row, sequence, previous)
        known = vouched.pop(row.sequence, None)
        if problem is None and known is not None and known.hash != row.hash:
            problem = f"It is another record than at {_time(known)}: the chain was rewritten."
        if problem is not None:
            return _report(tenant_id, sequence, previous, signed, broken_at=row.sequence, problem=problem)
        previous, sequence = row.hash, row.sequence
        is_head_seen = is_head_seen or previous == head
    if vouched:
        known = max(vouched.values(), key=lambda known: known.sequence)
        problem = f"The chain went on to record {known.sequence} at {_time(known)}: its tail was cut."
        return _report(tenant_id, sequence, previous, signed, broken_at=sequence + 1, problem=problem)
    if not is_head_seen:
        problem = "The noted head is gone: the tail was cut."
        return _report(tenant_id, sequence, previous, signed, broken_at=sequence + 1, problem=problem)
    return _report(tenant_id, sequence, previous, signed)


def _time(known: Vouched) -> str:
    return known.signed_at.astimezone(UTC).isoformat(timespec="seconds")


def _problem(row: AuditLog, sequence: int, previous: bytes) -> str | None:
    if row.sequence != sequence + 1:
        return f"Record {sequence + 1} is missing or out of order."
    if row.previous_hash != previous:
        return "The record does not follow the one before it."
    if Entry.of(row).hash_after(previous) != row.hash:
        return "The record was changed after it was written."
    return None


def _report(
    tenant_id: UUID,
    sequence: int,
    head: bytes,
    signed: Sequence[Vouched],
    *,
    broken_at: int | None = None,
    problem: str | None = None,
) -> ChainReport:
    newest = max(signed, key=lambda known: known.sequence, default=None)
    return ChainReport(
        tenant_id=tenant_id,
        is_intact=problem is None,
        records=sequence,
        head_sequence=sequence,
        head=head.hex(),
        signed_sequence=None if newest is None else newest.sequence,
        signed_at=None if newest is None else newest.signed_at,
        broken_at=broken_at,
        problem=problem,
    )
