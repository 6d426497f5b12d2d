"""What the runner promises: at least once, never twice at a time, back-off, dead letters, and a stop that loses nothing."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.domains.jobs.conftest import Table, Work, make_runner, running
from tollkeeper.core.errors import BadRequest, DependencyUnavailable
from tollkeeper.db.session import Database
from tollkeeper.domains.jobs.runner import back_off
from tollkeeper.domains.jobs.schemas import JobContext, JobKind, JobStatus

Gone = Callable[[], AbstractContextManager[None]]


async def succeed(context: JobContext, payload: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"saw": dict(payload), "attempt": context.attempt}


async def explode(context: JobContext, payload: Mapping[str, Any]) -> None:
    raise RuntimeError("sk-secret")


async def refuse(context: JobContext, payload: Mapping[str, Any]) -> None:
    raise BadRequest("The webhook answers 404.")


async def test_job_runs_with_its_payload_and_keeps_its_result(database: Database, table: Table) -> None:
    job_id = await table.add(payload={"a": [1, "ü"]})
    async with running(make_runner(database, JobKind("work", succeed))):
        job = await table.until(job_id, "succeeded")
    assert job.result == {"saw": {"a": [1, "ü"]}, "attempt": 1}
    assert job.finished_at is not None
    assert job.last_error is None


async def test_many_runners_never_run_one_job_twice(database: Database, table: Table) -> None:
    seen: list[int] = []

    async def note(context: JobContext, payload: Mapping[str, Any]) -> None:
        seen.append(payload["number"])
        await asyncio.sleep(0)

    ids = [await table.add(payload={"number": number}) for number in range(40)]
    runners = [make_runner(database, JobKind("work", note), name=f"r{number}", concurrency=3) for number in range(3)]
    async with running(runners[0]), running(runners[1]), running(runners[2]):
        for job_id in ids:
            await table.until(job_id, "succeeded")
    assert sorted(seen) == list(range(40))


async def test_concurrency_is_a_bound(database: Database, table: Table) -> None:
    work = Work()
    ids = [await table.add() for _ in range(5)]
    async with running(make_runner(database, JobKind("work", work), concurrency=2)):
        await work.wait_entered()
        await work.wait_entered()
        work.may_end.set()
        for job_id in ids:
            await table.until(job_id, "succeeded")
    assert work.most_at_once == 2


async def test_kinds_it_does_not_know_are_left_for_others(database: Database, table: Table) -> None:
    job_id = await table.add("unknown")
    assert await make_runner(database, JobKind("work", succeed)).claim() is None
    assert (await table.get(job_id)).status is JobStatus.QUEUED


async def test_job_is_not_claimed_before_its_time(database: Database, table: Table) -> None:
    job_id = await table.add()
    await table.change(job_id, "run_at = now() + interval '1 minute'")
    runner = make_runner(database, JobKind("work", succeed))
    assert await runner.claim() is None
    await table.change(job_id, "run_at = now()")
    assert (await runner.claim()) is not None


async def test_priority_comes_first_then_the_older(database: Database, table: Table) -> None:
    ids = {
        "old": await table.add(),
        "new": await table.add(),
        "urgent": await table.add(priority=5),
        "idle": await table.add(priority=-5),
    }
    await table.change(ids["old"], "run_at = now() - interval '1 hour'")
    await table.change(ids["idle"], "run_at = now() - interval '2 hours'")
    runner = make_runner(database, JobKind("work", succeed))
    claims = [await runner.claim() for _ in ids]
    names = {job_id: name for name, job_id in ids.items()}
    assert [names[claim.id] for claim in claims if claim] == ["urgent", "old", "new", "idle"]


async def test_job_of_a_killed_runner_runs_again_when_its_lease_is_over(database: Database, table: Table) -> None:
    job_id = await table.add()
    first = make_runner(database, JobKind("work", succeed), name="killed")
    second = make_runner(database, JobKind("work", succeed), name="second")
    assert await first.claim() is not None
    assert await second.claim() is None
    await table.change(job_id, "leased_until = now() - interval '1 second'")
    async with running(second):
        job = await table.until(job_id, "succeeded")
    assert job.attempts == 2


async def test_job_that_kills_its_process_each_time_is_laid_aside(database: Database, table: Table) -> None:
    job_id = await table.add(max_attempts=2)
    runner = make_runner(database, JobKind("work", succeed))
    for _ in range(2):
        assert await runner.claim() is not None
        await table.change(job_id, "leased_until = now() - interval '1 second'")
    async with running(runner):
        job = await table.until(job_id, "dead")
    assert job.result is None
    assert job.last_error == "The process running it ended each time."


async def test_heartbeat_keeps_a_long_job(database: Database, table: Table) -> None:
    work = Work()
    job_id = await table.add()
    runner = make_runner(database, JobKind("work", work), lease_seconds=0.6)
    rival = make_runner(database, JobKind("work", work), name="rival")
    async with running(runner):
        await work.wait_entered()
        first = await table.value(job_id, "leased_until")
        async with asyncio.timeout(20):
            # Two lives of the lease later it is still held by the one that works.
            while (await table.value(job_id, "leased_until") - first).total_seconds() < 1.2:
                assert await rival.claim() is None
                await asyncio.sleep(0.05)
        work.may_end.set()
        await table.until(job_id, "succeeded")
    assert (work.runs, work.cancelled) == (1, 0)


async def test_cancelled_job_stops_at_the_next_heartbeat(database: Database, table: Table) -> None:
    work = Work()
    job_id = await table.add()
    async with running(make_runner(database, JobKind("work", work), lease_seconds=0.3)):
        await work.wait_entered()
        await table.change(job_id, "status = 'cancelled', leased_by = NULL, leased_until = NULL")
        async with asyncio.timeout(20):
            while not work.cancelled:
                await asyncio.sleep(0.02)
    assert (await table.get(job_id)).status is JobStatus.CANCELLED


async def test_job_taken_over_is_given_up_and_its_late_result_is_not_written(database: Database, table: Table) -> None:
    late = asyncio.Event()

    async def stubborn(context: JobContext, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        late.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return {"from": "the first"}
        raise AssertionError

    job_id = await table.add()
    first = make_runner(database, JobKind("work", stubborn), name="same", lease_seconds=0.3)
    claim = await first.claim()
    assert claim is not None
    attempt = asyncio.create_task(first.execute(claim))
    await late.wait()
    await table.change(job_id, "leased_until = now() - interval '1 second'")
    # The same name: a lease belongs to a claim, not to a runner.
    second = make_runner(database, JobKind("work", succeed), name="same")
    successor = await second.claim()
    while successor is None:
        # The first renewed in between.
        await table.change(job_id, "leased_until = now() - interval '1 second'")
        successor = await second.claim()
    async with asyncio.timeout(20):
        await attempt
    assert (await table.get(job_id)).status is JobStatus.RUNNING
    await second.execute(successor)
    job = await table.get(job_id)
    assert (job.status, job.result) == (JobStatus.SUCCEEDED, {"saw": {}, "attempt": 2})


async def test_failed_attempt_waits_and_is_tried_again(database: Database, table: Table) -> None:
    outcomes = iter([refuse, succeed])

    async def flaky(context: JobContext, payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return await next(outcomes)(context, payload)

    job_id = await table.add()
    async with running(make_runner(database, JobKind("work", flaky))):
        failed = await table.until(job_id, "failed")
        assert failed.last_error == "The webhook answers 404."
        assert failed.finished_at is None
        assert 0 < await table.value(job_id, "extract(epoch FROM run_at - now())") <= 2
        await table.change(job_id, "run_at = now()")
        job = await table.until(job_id, "succeeded")
    assert (job.attempts, job.last_error) == (2, None)


async def test_last_failed_attempt_is_a_dead_letter(database: Database, table: Table) -> None:
    job_id = await table.add(max_attempts=1)
    async with running(make_runner(database, JobKind("work", explode))):
        job = await table.until(job_id, "dead")
    # A name, never the text of an unexpected error: it may hold anything.
    assert job.last_error == "Internal error (RuntimeError)."
    assert job.finished_at is not None


async def test_job_over_its_time_is_cancelled_and_fails(database: Database, table: Table) -> None:
    work = Work()
    job_id = await table.add()
    async with running(make_runner(database, JobKind("work", work, timeout_seconds=0.05))):
        job = await table.until(job_id, "failed")
    assert work.cancelled == 1
    assert job.last_error == "It took longer than 0 seconds."


async def test_timeout_inside_a_handler_is_not_taken_for_the_jobs_own(database: Database, table: Table) -> None:
    async def slow_part(context: JobContext, payload: Mapping[str, Any]) -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    job_id = await table.add()
    async with running(make_runner(database, JobKind("work", slow_part))):
        job = await table.until(job_id, "failed")
    assert job.last_error == "Internal error (TimeoutError)."


def test_back_off_doubles_up_to_ten_minutes() -> None:
    for attempt in range(1, 30):
        longest = min(600.0, 2.0**attempt)
        assert longest / 2 <= back_off(attempt) <= longest


async def test_recurring_job_is_one_row_that_is_put_back(database: Database, table: Table) -> None:
    work = Work()
    work.may_end.set()
    kind = JobKind("tick", work, every_seconds=3600)
    async with (
        running(make_runner(database, kind, name="one")),
        running(make_runner(database, kind, name="two")),
    ):
        await work.wait_entered()
        [job] = await table.all()
        await table.until(job.id, "queued")
        assert 3500 < await table.value(job.id, "extract(epoch FROM run_at - now())") <= 3600
        await table.change(job.id, "run_at = now()")
        await work.wait_entered()
        job = await table.until(job.id, "queued")
    assert [job.id for job in await table.all()] == [job.id]
    assert (job.is_recurring, job.attempts, job.result) == (True, 0, {"run": 2})


async def test_recurring_job_never_dies(database: Database, table: Table) -> None:
    entered = asyncio.Semaphore(0)

    async def always_fails(context: JobContext, payload: Mapping[str, Any]) -> None:
        entered.release()
        raise BadRequest("No.")

    async with running(make_runner(database, JobKind("tick", always_fails, every_seconds=3600, max_attempts=2))):
        for _ in range(4):
            async with asyncio.timeout(20):
                await entered.acquire()
            [job] = await table.all()
            job = await table.until(job.id, "failed")
            await table.change(job.id, "run_at = now()")
    assert job.attempts < 2
    assert job.last_error == "No."


async def test_stop_puts_running_jobs_back_without_counting_an_attempt(database: Database, table: Table) -> None:
    work = Work()
    job_id = await table.add(max_attempts=1)
    for _ in range(3):
        async with running(make_runner(database, JobKind("work", work))):
            await work.wait_entered()
    job = await table.get(job_id)
    assert (job.status, job.attempts) == (JobStatus.QUEUED, 0)
    assert work.cancelled == 3
    assert await table.value(job_id, "leased_by") is None


async def test_progress_is_seen_while_the_job_runs(database: Database, table: Table) -> None:
    reported, may_end = asyncio.Event(), asyncio.Event()

    async def report(context: JobContext, payload: Mapping[str, Any]) -> None:
        await context.progress({"done": 3, "of": 10})
        reported.set()
        await may_end.wait()

    job_id = await table.add()
    async with running(make_runner(database, JobKind("work", report))):
        await reported.wait()
        job = await table.get(job_id)
        may_end.set()
        await table.until(job_id, "succeeded")
    assert job.progress == {"done": 3, "of": 10}


async def test_database_gone_is_waited_for(database: Database, table: Table, database_gone: Gone) -> None:
    numbers = itertools.count()

    async def count(context: JobContext, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"number": next(numbers)}

    async with running(make_runner(database, JobKind("work", count))) as task:
        await table.until(await table.add(), "succeeded")
        with database_gone():
            with pytest.raises(DependencyUnavailable):
                await table.all()
            assert not task.done()
        job = await table.until(await table.add(), "succeeded")
    assert job.result == {"number": 1}


async def test_job_whose_lease_cannot_be_renewed_in_time_is_given_up(
    database: Database, table: Table, database_gone: Gone
) -> None:
    work = Work()
    job_id = await table.add()
    async with running(make_runner(database, JobKind("work", work), lease_seconds=0.5)):
        await work.wait_entered()
        with database_gone():
            async with asyncio.timeout(20):
                while not work.cancelled:
                    await asyncio.sleep(0.02)
        work.may_end.set()
        job = await table.until(job_id, "succeeded")
    assert job.attempts >= 2
    assert work.most_at_once == 1
