"""SQL of batches and their items. The session is one tenant's, unless a function says otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, CursorResult, and_, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.batches import OPEN, BatchStatus
from tollkeeper.contracts.files import Asked
from tollkeeper.contracts.principal import Principal
from tollkeeper.db.models.batches import Batch, BatchItem
from tollkeeper.domains.batches.validation import Line

WAITING: Final = "waiting"
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
_CANCELLABLE: Final = (BatchStatus.VALIDATING.value, BatchStatus.IN_PROGRESS.value)
_MOST_INTERRUPTIONS: Final = 5
# Only the run that has the batch now may take from it.
_START: Final = text("""
    UPDATE batch_items SET status = 'running', tries = tries + 1, request_id = new.request_id
    FROM unnest(CAST(:lines AS integer[]), CAST(:ids AS uuid[])) AS new(line, request_id)
    WHERE batch_id = :batch AND batch_items.line = new.line AND status = 'waiting'
      AND EXISTS (SELECT FROM batches WHERE id = :batch AND runner = :runner)
    RETURNING batch_items.line, custom_id, start, length, tries, batch_items.request_id
""")
_END: Final = text("""
    UPDATE batch_items SET status = :status, http_status = :http_status, outcome = :outcome
    WHERE batch_id = :batch AND line = :line AND status = 'running' AND request_id = :request
""")
_ORPHANS: Final = text("""
    SELECT id, tenant_id FROM batches
    WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling') AND NOT EXISTS (
        SELECT FROM jobs WHERE kind = :kind AND status IN ('queued', 'running', 'failed')
            AND payload ->> 'batch_id' = batches.id::text
    )
""")


@dataclass(frozen=True, slots=True)
class Started:
    """An item that is about to be called."""

    line: int
    custom_id: str
    start: int
    length: int
    tries: int
    request_id: UUID


async def find(session: AsyncSession, principal: Principal, batch_id: UUID) -> Batch | None:
    row: Batch | None = await session.scalar(select(Batch).where(Batch.id == batch_id, _visible(principal)))
    return row


async def list_page(session: AsyncSession, principal: Principal, asked: Asked) -> Sequence[Batch] | None:
    """One more than asked for, where there are more; None when `after` is not there."""
    query = select(Batch).where(_visible(principal))
    if asked.after is not None:
        if await find(session, principal, asked.after) is None:
            return None
        query = query.where(Batch.id < asked.after)
    return (await session.scalars(query.order_by(Batch.id.desc()).limit(asked.limit + 1))).all()


async def cancel(session: AsyncSession, principal: Principal, batch_id: UUID, now: datetime) -> bool:
    result = await session.execute(
        update(Batch)
        .where(Batch.id == batch_id, _visible(principal), Batch.status.in_(_CANCELLABLE))
        .values(status=BatchStatus.CANCELLING, cancelling_at=now)
        .execution_options(synchronize_session=False)
    )
    return _count(result) == 1


async def lock_creation(session: AsyncSession, tenant_id: UUID) -> None:
    """One batch of a tenant is made at a time, until the transaction ends: each sees all that were made before."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"batches {tenant_id}", 0))))


async def count_open(session: AsyncSession, *, before: UUID | None = None) -> int:
    """Of the tenant; `before`: of those that were made before that one."""
    query = select(func.count()).where(Batch.status.in_(sorted(OPEN)))
    if before is not None:
        query = query.where(Batch.id < before)
    return int(await session.scalar(query) or 0)


async def take(session: AsyncSession, batch_id: UUID, runner: UUID) -> Batch | None:
    """The batch, for this run from now on."""
    row: Batch | None = await session.get(Batch, batch_id, with_for_update=True)
    if row is not None:
        row.runner = runner
    return row


async def find_taken(session: AsyncSession, batch_id: UUID, runner: UUID) -> Batch | None:
    """None once another run has it."""
    row: Batch | None = await session.scalar(select(Batch).where(Batch.id == batch_id, Batch.runner == runner))
    return row


async def find_locked(session: AsyncSession, batch_id: UUID, runner: UUID) -> Batch | None:
    query = select(Batch).where(Batch.id == batch_id, Batch.runner == runner).with_for_update()
    row: Batch | None = await session.scalar(query)
    return row


async def add_items(session: AsyncSession, batch_id: UUID, tenant_id: UUID, lines: Sequence[Line]) -> None:
    rows = [
        {
            "batch_id": batch_id,
            "line": line.number,
            "tenant_id": tenant_id,
            "custom_id": line.custom_id,
            "start": line.start,
            "length": line.length,
            "status": WAITING,
        }
        for line in lines
    ]
    await session.execute(insert(BatchItem), rows)


async def remove_items(session: AsyncSession, batch_id: UUID) -> None:
    await session.execute(delete(BatchItem).where(BatchItem.batch_id == batch_id))


async def put_back_interrupted(session: AsyncSession, batch_id: UUID) -> int:
    """Items whose run ended under them: they are called again, and their records tell so; how many they are.

    One that has been interrupted time after time is given up: it may be what ends the processes.
    """
    given_up = await session.execute(
        text("""
            UPDATE batch_items SET status = 'failed', interrupted = array_append(interrupted, request_id)
            WHERE batch_id = :batch AND status = 'running' AND cardinality(interrupted) >= :most
        """),
        {"batch": batch_id, "most": _MOST_INTERRUPTIONS},
    )
    await session.execute(
        update(Batch)
        .where(Batch.id == batch_id)
        .values(failed=Batch.failed + _count(given_up))
        .execution_options(synchronize_session=False)
    )
    result = await session.execute(
        text("""
            UPDATE batch_items SET status = 'waiting', interrupted = array_append(interrupted, request_id)
            WHERE batch_id = :batch AND status = 'running'
        """),
        {"batch": batch_id},
    )
    return _count(result)


async def start(session: AsyncSession, batch_id: UUID, runner: UUID, request_ids: Sequence[UUID]) -> Sequence[Started]:
    """The next items that wait and may run, one for each of these ids."""
    waiting = (BatchItem.batch_id == batch_id, BatchItem.status == WAITING, BatchItem.run_after <= func.now())
    query = select(BatchItem.line).where(*waiting).order_by(BatchItem.line).limit(len(request_ids))
    lines = (await session.scalars(query)).all()
    if not lines:
        return []
    chosen = {"lines": list(lines), "ids": list(request_ids[: len(lines)]), "batch": batch_id, "runner": runner}
    rows = await session.execute(_START, chosen)
    return sorted((Started(*row) for row in rows), key=lambda item: item.line)


async def next_after(session: AsyncSession, batch_id: UUID) -> float | None:
    """Seconds until the next waiting item may run; None when none waits."""
    seconds = await session.scalar(
        select(func.extract("epoch", func.min(BatchItem.run_after) - func.now())).where(
            BatchItem.batch_id == batch_id, BatchItem.status == WAITING
        )
    )
    return None if seconds is None else max(0.0, float(seconds))


async def end(
    session: AsyncSession, batch_id: UUID, item: Started, *, is_done: bool, http_status: int | None, outcome: bytes
) -> bool:
    """Its answer, and the batch's count with it. False when this try is not the item's any more."""
    result = await session.execute(
        _END,
        {
            "batch": batch_id,
            "line": item.line,
            "request": item.request_id,
            "status": DONE if is_done else FAILED,
            "http_status": http_status,
            "outcome": outcome,
        },
    )
    if _count(result) != 1:
        return False
    counted = Batch.completed if is_done else Batch.failed
    await session.execute(
        update(Batch)
        .where(Batch.id == batch_id)
        .values({counted: counted + 1})
        .execution_options(synchronize_session=False)
    )
    return True


async def put_back(session: AsyncSession, batch_id: UUID, item: Started, seconds: float, *, is_counted: bool) -> None:
    """To be called again after so many seconds; `is_counted` as one of its tries."""
    await session.execute(
        text("""
            UPDATE batch_items SET status = 'waiting', run_after = now() + make_interval(secs => :seconds), tries = :tries
            WHERE batch_id = :batch AND line = :line AND status = 'running' AND request_id = :request
        """),
        {
            "batch": batch_id,
            "line": item.line,
            "request": item.request_id,
            "seconds": seconds,
            "tries": item.tries if is_counted else item.tries - 1,
        },
    )


async def items_after(session: AsyncSession, batch_id: UUID, line: int, limit: int) -> Sequence[BatchItem]:
    query = select(BatchItem).where(BatchItem.batch_id == batch_id, BatchItem.line > line)
    return (await session.scalars(query.order_by(BatchItem.line).limit(limit))).all()


async def count_unfinished(session: AsyncSession, batch_id: UUID) -> int:
    found = await session.scalar(
        select(func.count()).where(BatchItem.batch_id == batch_id, BatchItem.status.in_((WAITING, RUNNING)))
    )
    return int(found or 0)


async def list_orphans(session: AsyncSession, kind: str) -> Sequence[tuple[UUID, UUID]]:
    """Batch and tenant of open batches that no job is for. The session sees all tenants."""
    rows = await session.execute(_ORPHANS, {"kind": kind})
    return [(row.id, row.tenant_id) for row in rows]


async def remove_old(session: AsyncSession, days: int) -> int:
    """Those that were over long ago. The session sees all tenants."""
    result = await session.execute(
        text("""
            DELETE FROM batches WHERE NOT status = ANY(:open)
                AND created_at < now() - make_interval(days => :days)
        """),
        {"open": sorted(OPEN), "days": days},
    )
    return _count(result)


def _visible(principal: Principal) -> ColumnElement[bool]:
    return and_(
        Batch.project_id.is_not_distinct_from(principal.project_id),
        Batch.environment == principal.environment.value,
    )


def _count(result: object) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount
