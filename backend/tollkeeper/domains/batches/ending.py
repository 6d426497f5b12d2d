"""The end of a batch: its output and error files, one line for each request, and its last state, all at once.

An end that is interrupted begins anew: the files of the first attempt were never seen by anybody.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from tollkeeper.contracts.batches import BatchStatus
from tollkeeper.contracts.files import BATCH_OUTPUT
from tollkeeper.core.clock import Clock
from tollkeeper.core.ids import format_id
from tollkeeper.core.sealed_pieces import PieceKey
from tollkeeper.db.models.batches import Batch, BatchItem
from tollkeeper.db.session import Database
from tollkeeper.domains.batches import repository
from tollkeeper.domains.batches.lines import write_line
from tollkeeper.domains.files.service import Files, Owner, Upload

log = structlog.get_logger(__name__)

# An answer may be some megabytes large.
_PAGE: Final = 32
_AT: Final = {
    BatchStatus.COMPLETED: "completed_at",
    BatchStatus.FAILED: "failed_at",
    BatchStatus.EXPIRED: "expired_at",
    BatchStatus.CANCELLED: "cancelled_at",
}
_NOT_MADE: Final = {
    BatchStatus.EXPIRED: (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    BatchStatus.CANCELLED: ("batch_cancelled", "This request was not executed: the batch was cancelled."),
    BatchStatus.FAILED: ("batch_failed", "This request was not executed: the batch failed."),
    BatchStatus.COMPLETED: ("batch_failed", "This request was not executed."),
}
_INTERRUPTED: Final = ("request_interrupted", "This request was begun time after time, and never came to an end.")


@dataclass(frozen=True, slots=True)
class Ending:
    database: Database
    files: Files
    clock: Clock

    async def write(self, batch: Batch, runner: UUID, key: PieceKey, status: BatchStatus) -> None:
        owner = Owner(batch.tenant_id, batch.project_id, batch.environment)
        uploads: dict[bool, Upload] = {}
        unfinished = 0
        try:
            async for item in self._items(batch):
                is_done = item.status == repository.DONE
                unfinished += item.status in {repository.WAITING, repository.RUNNING}
                if is_done not in uploads:
                    uploads[is_done] = await self.files.begin_output(owner)
                await uploads[is_done].write(_line(batch, item, key, status))
            for upload in uploads.values():
                await upload.flush()
            is_ours = await self._close(batch, runner, status, uploads, unfinished)
        except BaseException:
            for upload in uploads.values():
                await upload.discard()
            raise
        if not is_ours:
            for upload in uploads.values():
                await upload.discard()

    async def _items(self, batch: Batch) -> AsyncIterator[BatchItem]:
        line = -1
        while True:
            async with self.database.tenant(batch.tenant_id) as session:
                items = await repository.items_after(session, batch.id, line, _PAGE)
            for item in items:
                yield item
            if len(items) < _PAGE:
                return
            line = items[-1].line

    async def _close(
        self, batch: Batch, runner: UUID, status: BatchStatus, uploads: dict[bool, Upload], unfinished: int
    ) -> bool:
        async with self.database.tenant(batch.tenant_id) as session:
            row = await repository.find_locked(session, batch.id, runner)
            if row is None:
                return False
            for is_done, upload in uploads.items():
                name = f"{format_id('batch', batch.id)}_{'output' if is_done else 'error'}.jsonl"
                stored = await upload.complete(
                    session, filename=name, purpose=BATCH_OUTPUT, seconds=batch.output_seconds
                )
                if is_done:
                    row.output_file_id = stored.id
                else:
                    row.error_file_id = stored.id
            row.status = status.value
            row.failed += unfinished
            setattr(row, _AT[status], self.clock.now())
            await repository.remove_items(session, batch.id)
        counts = {"total": row.total, "completed": row.completed, "failed": row.failed}
        log.info("batch_ended", batch_id=format_id("batch", batch.id), status=status.value, **counts)
        return True


def _line(batch: Batch, item: BatchItem, key: PieceKey, status: BatchStatus) -> bytes:
    if item.outcome is not None:
        response = key.unseal(item.line, item.outcome)
        return write_line(batch.id, item.line, item.custom_id, response=response, interrupted=item.interrupted)
    interrupted = list(item.interrupted)
    error = _INTERRUPTED if item.status == repository.FAILED else _NOT_MADE[status]
    if item.status == repository.RUNNING and item.request_id is not None:
        interrupted.append(item.request_id)
    return write_line(batch.id, item.line, item.custom_id, response=None, error=error, interrupted=interrupted)
