"""The loop that claims jobs and runs them: leases, heartbeats, retries with back-off, dead letters.

At least once: a runner that dies leaves a lease that runs out, and another claims the job. A handler whose lease was
lost is cancelled, so that it does not run beside its successor for longer than one heartbeat.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.errors import DependencyUnavailable, TollkeeperError
from tollkeeper.domains.jobs import repository, service
from tollkeeper.domains.jobs.schemas import Claim, JobContext, JobKind, JobStatus

log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 30.0
POLL_SECONDS: Final = 1.0
_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 600.0


class Platform(Protocol):
    def platform(self) -> contextlib.AbstractAsyncContextManager[AsyncSession]:
        """A transaction under the platform role."""
        ...


class Runner:
    """`run` claims until cancelled; `concurrency` jobs at a time. `name` tells runners apart in the table."""

    def __init__(
        self,
        database: Platform,
        kinds: Sequence[JobKind],
        *,
        name: str,
        concurrency: int = 2,
        lease_seconds: float = LEASE_SECONDS,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._kinds = {kind.name: kind for kind in kinds}
        self._name = name
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._free = asyncio.Semaphore(concurrency)
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Never returns; cancel it. Jobs in progress are then put back, not counted as failed."""
        is_prepared = False
        try:
            while True:
                await self._free.acquire()
                claim: Claim | None = None
                try:
                    if not is_prepared:
                        async with self._database.platform() as session:
                            await service.ensure_recurring(session, list(self._kinds.values()))
                        is_prepared = True
                    claim = await self.claim()
                except DependencyUnavailable:
                    # PostgreSQL is away: nothing is lost, the table waits.
                    log.warning("jobs_wait_for_database")
                finally:
                    if claim is None:
                        self._free.release()
                if claim is None:
                    await asyncio.sleep(self._poll_seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the runners
                    continue
                task = asyncio.create_task(self._run_and_free(claim), name=f"job-{claim.kind}")
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def claim(self) -> Claim | None:
        async with self._database.platform() as session:
            return await repository.claim(
                session, runner=self._name, kinds=list(self._kinds), lease_seconds=self._lease_seconds
            )

    async def _run_and_free(self, claim: Claim) -> None:
        try:
            await self.execute(claim)
        except DependencyUnavailable:
            # The result could not be written: the lease runs out and the job runs again.
            log.warning("job_result_not_stored", kind=claim.kind)
        finally:
            self._free.release()

    async def execute(self, claim: Claim) -> None:
        """Run one claimed job to its end and write that down."""
        kind = self._kinds[claim.kind]
        if claim.attempt > claim.max_attempts and claim.schedule_key is None:
            # Its runners died under it each time: a job that kills its process must not do so for ever.
            await self._finish(claim, status=JobStatus.DEAD, error="The process running it ended each time.")
            return
        work = asyncio.create_task(self._handle(kind, claim))
        beat = asyncio.create_task(self._keep_lease(claim, work))
        try:
            result = await asyncio.wait_for(work, kind.timeout_seconds)
        except asyncio.CancelledError:
            if work.cancelled() and not _is_cancelling():
                log.info("job_lease_lost", kind=claim.kind)
                return
            await self._finish(claim, status=JobStatus.QUEUED, run_again_in_seconds=0)
            raise
        except TimeoutError:
            await self._failed(kind, claim, f"It took longer than {kind.timeout_seconds:.0f} seconds.")
        except TollkeeperError as error:
            await self._failed(kind, claim, error.message)
        except Exception as error:  # the boundary of background work: log once, keep going
            log.exception("job_failed", kind=claim.kind, attempt=claim.attempt)
            await self._failed(kind, claim, f"Internal error ({type(error).__name__}).")
        else:
            await self._succeeded(kind, claim, result)
        finally:
            beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beat

    async def _handle(self, kind: JobKind, claim: Claim) -> Mapping[str, Any] | None:
        async def progress(values: Mapping[str, Any]) -> None:
            async with self._database.platform() as session:
                await repository.save_progress(session, claim.id, self._name, values)

        return await kind.handler(JobContext(claim.id, claim.tenant_id, claim.attempt, progress), claim.payload)

    async def _keep_lease(self, claim: Claim, work: asyncio.Task[Any]) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            try:
                async with self._database.platform() as session:
                    is_ours = await repository.renew(session, claim.id, self._name, self._lease_seconds)
            except DependencyUnavailable:
                continue
            if not is_ours:
                work.cancel()
                return

    async def _succeeded(self, kind: JobKind, claim: Claim, result: Mapping[str, Any] | None) -> None:
        if claim.schedule_key is not None and kind.every_seconds is not None:
            await self._finish(
                claim,
                status=JobStatus.QUEUED,
                result=result,
                run_again_in_seconds=kind.every_seconds,
                forget_attempts=True,
            )
        else:
            await self._finish(claim, status=JobStatus.SUCCEEDED, result=result)

    async def _failed(self, kind: JobKind, claim: Claim, error: str) -> None:
        if claim.attempt < claim.max_attempts:
            pause = back_off(claim.attempt)
            await self._finish(claim, status=JobStatus.FAILED, error=error, run_again_in_seconds=pause)
        elif claim.schedule_key is not None and kind.every_seconds is not None:
            # A recurring job never dies: the next turn may find what was missing in this one.
            await self._finish(
                claim,
                status=JobStatus.FAILED,
                error=error,
                run_again_in_seconds=kind.every_seconds,
                forget_attempts=True,
            )
        else:
            log.error("job_dead", kind=claim.kind, attempts=claim.attempt)
            await self._finish(claim, status=JobStatus.DEAD, error=error)

    async def _finish(self, claim: Claim, **fields: Any) -> None:
        async with self._database.platform() as session:
            await repository.finish(session, claim.id, self._name, **fields)


def back_off(attempt: int) -> float:
    """Seconds before the next attempt: doubling from two seconds, at most ten minutes, with full jitter on the half."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
