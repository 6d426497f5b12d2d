"""The loop that claims jobs and runs them: leases, heartbeats, retries with back-off, dead letters.

At least once, and never twice at the same time: a runner that dies leaves a lease that runs out, and another claims the
job; a handler whose lease was lost, or could not be renewed in time, is cancelled.
Failure policy: PostgreSQL down: wait and go on; what could not be written down runs again.
"""

import asyncio
import random
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
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
# Of a lease, what we count on: our clock starts later than the database's.
_TRUSTED_SHARE: Final = 0.9


class Platform(Protocol):
    def platform(self) -> AbstractAsyncContextManager[AsyncSession]:
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
        self._is_prepared = False

    async def run(self) -> None:
        """Never returns; cancel it. Jobs in progress are then put back, not counted as failed."""
        try:
            while True:
                await self._free.acquire()
                claim: Claim | None = None
                try:
                    claim = await self._claim_calmly()
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
        lease_id = f"{self._name}/{secrets.token_hex(6)}"
        async with self._database.platform() as session:
            return await repository.claim(
                session, lease_id=lease_id, kinds=list(self._kinds), lease_seconds=self._lease_seconds
            )

    async def execute(self, claim: Claim) -> None:
        """Run one claimed job to its end and write that down; `DependencyUnavailable` when that cannot be done."""
        kind = self._kinds[claim.kind]
        if claim.attempt > claim.max_attempts:
            # Its runners died under it each time: a job that kills its process must not do so for ever.
            await self._failed(kind, claim, "The process running it ended each time.")
            return
        work = asyncio.create_task(self._handle(kind, claim))
        lease = asyncio.create_task(self._keep_lease(claim))
        try:
            await asyncio.wait({work, lease}, timeout=kind.timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            is_done, is_lost = work.done(), lease.done()
            await _end(work)
        except asyncio.CancelledError:
            await _end(work)
            await self._put_back(claim)
            raise
        finally:
            await _end(lease)
        if is_done:
            await self._conclude(kind, claim, work)
        elif is_lost:
            log.warning("job_lease_lost", kind=claim.kind)
        else:
            await self._failed(kind, claim, f"It took longer than {kind.timeout_seconds:.0f} seconds.")

    async def _claim_calmly(self) -> Claim | None:
        try:
            if not self._is_prepared:
                async with self._database.platform() as session:
                    await service.ensure_recurring(session, list(self._kinds.values()))
                self._is_prepared = True
            return await self.claim()
        except DependencyUnavailable:
            # PostgreSQL is away: nothing is lost, the table waits.
            log.warning("jobs_wait_for_database")
        except Exception:  # the boundary of background work: log it, keep going
            log.exception("job_claim_failed")
        return None

    async def _run_and_free(self, claim: Claim) -> None:
        try:
            await self.execute(claim)
        except DependencyUnavailable:
            # The result could not be written: the lease runs out and the job runs again.
            log.warning("job_result_not_stored", kind=claim.kind)
        except Exception:  # the boundary of background work: log it, keep going
            log.exception("job_result_not_stored", kind=claim.kind)
        finally:
            self._free.release()

    async def _handle(self, kind: JobKind, claim: Claim) -> Mapping[str, Any] | None:
        async def progress(values: Mapping[str, Any]) -> None:
            async with self._database.platform() as session:
                await repository.save_progress(session, claim, values)

        return await kind.handler(JobContext(claim.id, claim.tenant_id, claim.attempt, progress), claim.payload)

    async def _keep_lease(self, claim: Claim) -> None:
        """Returns when the lease is lost: cancelled, taken over, or not renewed in time."""
        loop = asyncio.get_running_loop()
        held_until = loop.time() + self._lease_seconds * _TRUSTED_SHARE
        while True:
            await asyncio.sleep(min(self._lease_seconds / 3, max(0.0, held_until - loop.time())))
            began = loop.time()
            try:
                async with asyncio.timeout_at(held_until), self._database.platform() as session:
                    is_ours = await repository.renew(session, claim, self._lease_seconds)
            except (DependencyUnavailable, TimeoutError):
                if loop.time() >= held_until:
                    return
                continue
            if not is_ours:
                return
            held_until = began + self._lease_seconds * _TRUSTED_SHARE

    async def _conclude(self, kind: JobKind, claim: Claim, work: asyncio.Task[Mapping[str, Any] | None]) -> None:
        if work.cancelled():
            await self._failed(kind, claim, "The handler ended itself.")
            return
        error = work.exception()
        if error is None:
            await self._succeeded(kind, claim, work.result())
        elif isinstance(error, TollkeeperError):
            await self._failed(kind, claim, error.message)
        else:
            log.error("job_failed", kind=claim.kind, attempt=claim.attempt, exc_info=error)
            await self._failed(kind, claim, f"Internal error ({type(error).__name__}).")

    async def _succeeded(self, kind: JobKind, claim: Claim, result: Mapping[str, Any] | None) -> None:
        if claim.schedule_key is not None and kind.every_seconds is not None:
            again = float(kind.every_seconds)
            await self._finish(claim, JobStatus.QUEUED, attempts=0, result=result, run_again_in_seconds=again)
        else:
            await self._finish(claim, JobStatus.SUCCEEDED, attempts=claim.attempt, result=result)

    async def _failed(self, kind: JobKind, claim: Claim, error: str) -> None:
        if claim.attempt < claim.max_attempts:
            pause = back_off(claim.attempt)
            await self._finish(claim, JobStatus.FAILED, attempts=claim.attempt, error=error, run_again_in_seconds=pause)
        elif claim.schedule_key is not None and kind.every_seconds is not None:
            # A recurring job never dies: the next turn may find what was missing in this one.
            again = float(kind.every_seconds)
            await self._finish(claim, JobStatus.FAILED, attempts=0, error=error, run_again_in_seconds=again)
        else:
            log.error("job_dead", kind=claim.kind, job_id=str(claim.id))
            await self._finish(claim, JobStatus.DEAD, attempts=claim.attempt, error=error)

    async def _put_back(self, claim: Claim) -> None:
        """The process stops in good order: the attempt does not count."""
        try:
            await self._finish(claim, JobStatus.QUEUED, attempts=claim.attempt - 1, run_again_in_seconds=0)
        except DependencyUnavailable:
            log.warning("job_not_put_back", kind=claim.kind)

    async def _finish(
        self,
        claim: Claim,
        status: JobStatus,
        *,
        attempts: int,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
        run_again_in_seconds: float | None = None,
    ) -> None:
        async with self._database.platform() as session:
            was_ours = await repository.finish(
                session,
                claim,
                status=status,
                attempts=attempts,
                result=result,
                error=error,
                run_again_in_seconds=run_again_in_seconds,
            )
        if not was_ours:
            log.warning("job_lease_lost", kind=claim.kind)


def back_off(attempt: int) -> float:
    """Seconds before the next attempt: doubling from two seconds, at most ten minutes, with full jitter on the half."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancel, and wait until it has ended; how it ended is for the caller to read."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
