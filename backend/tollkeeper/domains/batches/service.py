"""Batches, as `contracts.ports.BatchStore`: made, looked at, cancelled. `run` is what makes their calls."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts import batches as contracts
from tollkeeper.contracts.batches import WINDOW, WINDOW_SECONDS, BatchProblem, BatchStatus, NewBatch
from tollkeeper.contracts.files import Asked, format_file_id
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.clock import Clock
from tollkeeper.core.crypto import Aad, SecretBox
from tollkeeper.core.errors import BadRequest, Conflict, NotFound, RateLimited
from tollkeeper.core.events import BatchCancelled, BatchCreated, emit
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.sealed_pieces import PieceKey
from tollkeeper.db.models.batches import Batch
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.batches import repository
from tollkeeper.domains.files.service import Files
from tollkeeper.domains.jobs import service as jobs

RUN: Final = "batches.run"
MOST_OPEN: Final = 100
# Below everything that keeps the gateway in order.
_PRIORITY: Final = -10
# A run that ends with its process is claimed again, however often; the window ends it in any case.
_MOST_RUNS: Final = 1_000
_TIMES: Final = (
    "created_at",
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)


class BatchIsOver(Conflict):
    """It cannot be cancelled any more."""

    code = "batch_is_over"


class Batches:
    def __init__(self, database: Database, files: Files, box: SecretBox, clock: Clock) -> None:
        self._database = database
        self._files = files
        self._box = box
        self._clock = clock

    async def create(self, principal: Principal, new: NewBatch) -> contracts.Batch:
        batch_id, now = uuid7(), self._clock.now()
        async with self._database.tenant(principal.tenant_id) as session:
            await repository.lock_creation(session, principal.tenant_id)
            if await repository.count_open(session) >= MOST_OPEN:
                raise RateLimited(
                    f"{MOST_OPEN} batches of this tenant are not over yet; wait for one of them, or cancel it.",
                    code="too_many_batches",
                    should_retry=False,
                )
            await self._check_input(session, principal, new.input_file_id)
            row = Batch(
                id=batch_id,
                tenant_id=principal.tenant_id,
                project_id=principal.project_id,
                environment=principal.environment.value,
                key_id=principal.key_id,
                endpoint=new.endpoint,
                completion_window=WINDOW,
                status=BatchStatus.VALIDATING.value,
                input_file_id=new.input_file_id,
                output_seconds=new.output_seconds,
                labels=None if new.metadata is None else dict(new.metadata),
                envelope=PieceKey.new(self._box, bond(principal.tenant_id, batch_id))[1],
                total=0,
                completed=0,
                failed=0,
                created_at=now,
                expires_at=now + timedelta(seconds=WINDOW_SECONDS),
            )
            session.add(row)
            await session.flush()
            await enqueue(session, batch_id, principal.tenant_id)
            facts = {"endpoint": row.endpoint, "input_file_id": format_file_id(row.input_file_id)}
            await _record(session, principal, "batches.create", batch_id, None, facts)
            await emit(session, principal.tenant_id, BatchCreated(batch_id, principal.key_id))
        return shown(row)

    async def find(self, principal: Principal, batch_id: UUID) -> contracts.Batch | None:
        async with self._database.tenant(principal.tenant_id) as session:
            row = await repository.find(session, principal, batch_id)
        return None if row is None else shown(row)

    async def list(self, principal: Principal, asked: Asked) -> tuple[Sequence[contracts.Batch], bool]:
        async with self._database.tenant(principal.tenant_id) as session:
            rows = await repository.list_page(session, principal, asked)
        if rows is None:
            raise NotFound("No such batch.", code="batch_not_found", param="after")
        return [shown(row) for row in rows[: asked.limit]], len(rows) > asked.limit

    async def cancel(self, principal: Principal, batch_id: UUID) -> contracts.Batch | None:
        async with self._database.tenant(principal.tenant_id) as session:
            is_cancelled = await repository.cancel(session, principal, batch_id, self._clock.now())
            row = await repository.find(session, principal, batch_id)
            if is_cancelled:
                after = {"status": BatchStatus.CANCELLING.value}
                await _record(session, principal, "batches.cancel", batch_id, None, after)
                await emit(session, principal.tenant_id, BatchCancelled(batch_id, principal.key_id))
        if row is None:
            return None
        if not is_cancelled and row.status != BatchStatus.CANCELLING:
            raise BatchIsOver(f"Cannot cancel a batch with status '{row.status}'.", should_retry=False)
        return shown(row)

    async def _check_input(self, session: AsyncSession, principal: Principal, file_id: UUID) -> None:
        stored = await self._files.held(session, principal, file_id)
        if stored is None:
            # In the words of the Files API.
            raise BadRequest(
                f"No such File object: {format_file_id(file_id)}", code="file_not_found", param="input_file_id"
            )
        if stored.purpose != "batch":
            raise BadRequest(
                f"The file {format_file_id(file_id)} is for '{stored.purpose}'; upload it with the purpose 'batch'.",
                code="invalid_purpose",
                param="input_file_id",
            )


async def _record(
    session: AsyncSession,
    principal: Principal,
    action: str,
    batch_id: UUID,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    """Who had calls made in their own time, never what they say."""
    key_id = format_id("key", principal.key_id)
    actor = audit.Actor("key", key_id, key_id)
    batch = format_id("batch", batch_id)
    await audit.record(session, actor, action, "batch", batch, before, after, tenant_id=principal.tenant_id)


async def enqueue(session: AsyncSession, batch_id: UUID, tenant_id: UUID, run_at: datetime | None = None) -> None:
    """A run of the batch, in the caller's transaction."""
    await jobs.enqueue(
        session,
        RUN,
        {"batch_id": str(batch_id)},
        tenant_id=tenant_id,
        priority=_PRIORITY,
        run_at=run_at,
        max_attempts=_MOST_RUNS,
    )


def shown(row: Batch) -> contracts.Batch:
    times: dict[str, Any] = {name: getattr(row, name) for name in _TIMES}
    return contracts.Batch(
        id=row.id,
        endpoint=row.endpoint,
        status=BatchStatus(row.status),
        input_file_id=row.input_file_id,
        times={name: None if at is None else int(at.timestamp()) for name, at in times.items()},
        total=row.total,
        completed=row.completed,
        failed=row.failed,
        output_file_id=row.output_file_id,
        error_file_id=row.error_file_id,
        metadata=row.labels,
        model=row.model,
        errors=None if row.errors is None else [BatchProblem(**problem) for problem in row.errors],
    )


def bond(tenant_id: UUID, batch_id: UUID) -> Aad:
    """What a batch's key is bound to."""
    return Aad(tenant_id, batch_id, "batch", 1)
