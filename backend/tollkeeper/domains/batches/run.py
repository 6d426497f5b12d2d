"""One run of a batch: from wherever the last one left it, for a while, or to its end.

Every state is in PostgreSQL before it counts. An item is marked before its call leaves, and its answer is there before
the call is settled: so whatever ends a process, nothing that was settled is called again, and what was under way is
told in its record. Failure policy: PostgreSQL away: the run ends, and the job runs again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final
from uuid import UUID

import structlog

from tollkeeper.contracts.batches import OPEN, Answered, BatchProblem, BatchStatus
from tollkeeper.contracts.ports import ModelCalls
from tollkeeper.core.clock import Clock
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.errors import DependencyUnavailable, Forbidden, Unauthenticated
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.sealed_pieces import PieceKey
from tollkeeper.db.models.batches import Batch
from tollkeeper.db.session import Database
from tollkeeper.domains.batches import repository
from tollkeeper.domains.batches.ending import Ending
from tollkeeper.domains.batches.input import Input
from tollkeeper.domains.batches.lines import read_body, write_response
from tollkeeper.domains.batches.pace import Pace, Verdict
from tollkeeper.domains.batches.repository import Started
from tollkeeper.domains.batches.service import bond
from tollkeeper.domains.batches.shares import Shares
from tollkeeper.domains.batches.validation import Validation
from tollkeeper.domains.files.service import Files

log = structlog.get_logger(__name__)

# Then the next batch has its turn.
TURN_SECONDS: Final = 30.0
# How often a run looks whether it is to go on.
_LOOK_SECONDS: Final = 0.5
# What is under way when a run must end may still come to its end.
_GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What every run works with."""

    database: Database
    files: Files
    box: SecretBox
    clock: Clock
    calls: ModelCalls
    shares: Shares
    most_calls: int
    max_body_bytes: int


class BatchRun:
    def __init__(self, parts: Parts, batch: Batch, runner: UUID, ends_at: float) -> None:
        self._parts = parts
        self._batch = batch
        self._runner = runner
        self._ends_at = ends_at
        self._key = PieceKey.open(parts.box, batch.envelope, bond(batch.tenant_id, batch.id))
        self._pace = Pace(parts.most_calls)
        self._under_way: set[asyncio.Task[None]] = set()
        self._refusal: BatchProblem | None = None

    @classmethod
    async def of(cls, parts: Parts, tenant_id: UUID, batch_id: UUID, seconds: float) -> "BatchRun | None":
        """None for a batch that is over, or gone."""
        runner = uuid7()
        async with parts.database.tenant(tenant_id) as session:
            batch = await repository.take(session, batch_id, runner)
        if batch is None or BatchStatus(batch.status) not in OPEN:
            return None
        return cls(parts, batch, runner, parts.clock.monotonic() + seconds)

    @property
    def can_wait(self) -> bool:
        """Nothing of it is to be brought to its end."""
        return self._batch.status in {BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS} and not self._ending_of(
            self._batch
        )

    async def go(self) -> bool:
        """Whether the batch is over now; else it wants another run."""
        if self._batch.status == BatchStatus.VALIDATING:
            if not await self._validate():
                return True
        elif self._batch.total == 0:
            # Cancelled before its input was judged to the end.
            async with self._parts.database.tenant(self._batch.tenant_id) as session:
                await repository.remove_items(session, self._batch.id)
        if self._batch.status != BatchStatus.FINALIZING:
            ending = await self._work()
            if ending is None:
                return False
        else:
            ending = self._ending_of(self._batch) or BatchStatus.COMPLETED
        await Ending(self._parts.database, self._parts.files, self._parts.clock).write(
            self._batch, self._runner, self._key, ending
        )
        return True

    async def _validate(self) -> bool:
        """Whether the batch may begin. One that failed half-way through this begins it anew."""
        batch, database = self._batch, self._parts.database
        async with database.tenant(batch.tenant_id) as session:
            await repository.remove_items(session, batch.id)
        validation = Validation(batch.endpoint, self._parts.max_body_bytes)
        total = 0
        contents = await self._parts.files.contents_of(batch.tenant_id, batch.input_file_id)
        if contents is None:
            validation.problems.append(BatchProblem("file_not_found", "The input file is gone.", None, "input_file_id"))
        else:
            async for lines in Input(self._parts.files, contents).validate(validation):
                total += len(lines)
                async with database.tenant(batch.tenant_id) as session:
                    await repository.add_items(session, batch.id, batch.tenant_id, lines)
        return await self._judged(validation, total)

    async def _judged(self, validation: Validation, total: int) -> bool:
        async with self._parts.database.tenant(self._batch.tenant_id) as session:
            row = await repository.find_locked(session, self._batch.id, self._runner)
            if row is None:
                return False
            if validation.problems:
                row.errors = [asdict(problem) for problem in validation.problems]
                row.status, row.failed_at = BatchStatus.FAILED.value, self._parts.clock.now()
                await repository.remove_items(session, row.id)
            else:
                row.total, row.model = total, validation.model
                if row.status == BatchStatus.VALIDATING:
                    row.status, row.in_progress_at = BatchStatus.IN_PROGRESS.value, self._parts.clock.now()
            self._batch = row
        return not validation.problems

    async def _work(self) -> BatchStatus | None:
        """Make calls until the batch ends, and how; None: until the turn was over, or another run has the batch."""
        contents = await self._parts.files.contents_of(self._batch.tenant_id, self._batch.input_file_id)
        if contents is None:
            self._refusal = BatchProblem("file_not_found", "The input file is gone.", None, "input_file_id")
        else:
            async with self._parts.database.tenant(self._batch.tenant_id) as session:
                again = await repository.put_back_interrupted(session, self._batch.id)
            if again:
                log.warning("batch_calls_repeated", batch_id=format_id("batch", self._batch.id), count=again)
        try:
            ending = None if contents is None else await self._call_all(Input(self._parts.files, contents))
        finally:
            await self._let_end()
        if self._refusal is not None:
            ending = BatchStatus.FAILED
        return None if ending is None else await self._finalizing(ending)

    async def _call_all(self, source: Input) -> BatchStatus | None:
        looked_at = -_LOOK_SECONDS
        while True:
            now = self._parts.clock.monotonic()
            try:
                if now - looked_at >= _LOOK_SECONDS:
                    if not await self._look():
                        return None
                    looked_at = now
            except DependencyUnavailable:
                # Calls under way need it as well, and wait for it; the lease of this run ends before long.
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            ending = self._ending_of(self._batch)
            if ending is not None or self._refusal is not None:
                return ending
            is_turn_over = now >= self._ends_at
            started = 0 if is_turn_over else await self._start(source)
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                continue
            if started:
                continue
            async with self._parts.database.tenant(self._batch.tenant_id) as session:
                wait = await repository.next_after(session, self._batch.id)
                # Of calls that could not tell their ends, because PostgreSQL was away.
                again = 0 if wait is not None else await repository.put_back_interrupted(session, self._batch.id)
            if wait is None and not again:
                return BatchStatus.COMPLETED
            if is_turn_over:
                return None
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> bool:
        """The batch as it is now; False once it is another run's."""
        async with self._parts.database.tenant(self._batch.tenant_id) as session:
            row = await repository.find_taken(session, self._batch.id, self._runner)
        if row is None:
            return False
        self._batch = row
        return True

    async def _start(self, source: Input) -> int:
        """Call as many of the next items as there is room for; how many."""
        free = self._pace.width(self._parts.clock.monotonic()) - len(self._under_way)
        granted = self._parts.shares.take(self._batch.tenant_id, free)
        if granted == 0:
            return 0
        items: Sequence[Started] = ()
        marking = asyncio.create_task(self._mark(granted), name="batch-mark")
        try:
            items = await asyncio.shield(marking)
        except asyncio.CancelledError:
            # Marked or not, no call leaves any more; a run that ends in good order leaves none behind as if one had.
            with suppress(DependencyUnavailable):
                for item in await marking:
                    await self._put_back(item, 0.0)
            raise
        finally:
            self._parts.shares.give(self._batch.tenant_id, granted - len(items))
        for item in items:
            task = asyncio.create_task(self._call(source, item), name="batch-item")
            self._under_way.add(task)
            task.add_done_callback(self._ended)
        return len(items)

    async def _mark(self, count: int) -> Sequence[Started]:
        async with self._parts.database.tenant(self._batch.tenant_id) as session:
            ids = [uuid7() for _ in range(count)]
            return await repository.start(session, self._batch.id, self._runner, ids)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._parts.shares.give(self._batch.tenant_id, 1)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("batch_item_failed", batch_id=format_id("batch", self._batch.id), exc_info=error)

    async def _call(self, source: Input, item: Started) -> None:
        try:
            body, refusal = read_body(await source.line(item.start, item.length))
            principal = await self._parts.calls.principal(self._batch.key_id, self._batch.endpoint)
        except DependencyUnavailable as error:
            self._pace.paused_until = self._parts.clock.monotonic() + (error.retry_after_seconds or 1.0)
            await self._put_back(item, 0.0)
            return
        except (Unauthenticated, Forbidden) as error:
            message = f"The key that made this batch may not go on with it: {error.message}"
            self._refusal = BatchProblem(error.code, message)
            await self._put_back(item, 0.0)
            return
        if refusal is not None:
            await self._keep(item, Verdict.FAILED, Answered(item.request_id, 400, refusal))
            return

        async def keep(answered: Answered) -> None:
            verdict, seconds = self._pace.judge(
                answered, item.tries, len(self._under_way) - 1, self._parts.clock.monotonic()
            )
            if verdict in {Verdict.DONE, Verdict.FAILED}:
                await self._keep(item, verdict, answered)
            else:
                await self._put_back(item, seconds, is_counted=verdict is Verdict.AGAIN)

        await self._parts.calls.call(principal, self._batch.endpoint, body, item.request_id, keep)

    async def _keep(self, item: Started, verdict: Verdict, answered: Answered) -> None:
        """Its answer, however long PostgreSQL is away: a call that was paid for is not given up for that."""
        outcome = self._key.seal(item.line, write_response(answered))
        is_done = verdict is Verdict.DONE
        while True:
            try:
                async with self._parts.database.tenant(self._batch.tenant_id) as session:
                    await repository.end(
                        session, self._batch.id, item, is_done=is_done, http_status=answered.status, outcome=outcome
                    )
            except DependencyUnavailable:
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return

    async def _put_back(self, item: Started, seconds: float, *, is_counted: bool = False) -> None:
        async with self._parts.database.tenant(self._batch.tenant_id) as session:
            await repository.put_back(session, self._batch.id, item, seconds, is_counted=is_counted)

    async def _let_end(self) -> None:
        """A moment for what is under way, then no more."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_GRACE_SECONDS)
        left = list(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _finalizing(self, ending: BatchStatus) -> BatchStatus | None:
        """How it ends after all: one that was cancelled while its last calls ended was cancelled. None: another run has it."""
        async with self._parts.database.tenant(self._batch.tenant_id) as session:
            row = await repository.find_locked(session, self._batch.id, self._runner)
            if row is None:
                return None
            if ending is BatchStatus.COMPLETED and row.cancelling_at is not None:
                ending = BatchStatus.CANCELLED
            if self._refusal is not None:
                row.errors = [asdict(self._refusal)]
            if row.status == BatchStatus.IN_PROGRESS:
                row.status, row.finalizing_at = BatchStatus.FINALIZING.value, self._parts.clock.now()
                if ending is BatchStatus.EXPIRED:
                    row.expired_at = row.finalizing_at
            self._batch = row
        return ending

    def _ending_of(self, batch: Batch) -> BatchStatus | None:
        """Which end the batch has come to beside that of its requests; also what a run before this one had found."""
        if batch.errors:
            return BatchStatus.FAILED
        if batch.cancelling_at is not None:
            return BatchStatus.CANCELLED
        is_late = batch.status != BatchStatus.FINALIZING and self._parts.clock.now() >= batch.expires_at
        return BatchStatus.EXPIRED if is_late or batch.expired_at is not None else None
