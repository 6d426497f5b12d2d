"""Putting jobs in, looking at them, cancelling and retrying."""

import asyncio
import itertools
from uuid import UUID

import pytest

from tests.domains.jobs.conftest import Table, make_runner
from tests.domains.jobs.test_runner import succeed
from tollkeeper.core.errors import Conflict
from tollkeeper.core.ids import uuid7
from tollkeeper.db.session import Database
from tollkeeper.domains.jobs import service
from tollkeeper.domains.jobs.schemas import JobKind, JobStatus
from tollkeeper.web.caller import Caller


async def test_job_exists_only_if_its_transaction_commits(database: Database, table: Table) -> None:
    async def change_and_fail() -> None:
        async with database.platform() as session:
            await service.enqueue(session, "work", {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await change_and_fail()
    assert await table.all() == []


async def test_tenant_session_may_put_in_its_own_job_and_no_other(
    database: Database, table: Table, tenant_id: UUID
) -> None:
    async with database.tenant(tenant_id) as session:
        job_id = await service.enqueue(session, "work", {}, tenant_id=tenant_id)
    assert (await table.get(job_id)).tenant_id == tenant_id

    async def for_another() -> None:
        async with database.tenant(tenant_id) as session:
            await service.enqueue(session, "work", {}, tenant_id=None)

    with pytest.raises(Exception, match="row-level security"):
        await for_another()


async def test_recurring_rows_are_made_once_whoever_starts_first(database: Database, table: Table) -> None:
    kinds = [JobKind("tick", succeed, every_seconds=60), JobKind("once", succeed)]

    async def prepare() -> None:
        async with database.platform() as session:
            await service.ensure_recurring(session, kinds)

    await asyncio.gather(*(prepare() for _ in range(4)))
    [job] = await table.all()
    assert (job.kind, job.is_recurring) == ("tick", True)


async def test_cancelled_job_is_not_claimed_and_can_be_retried(
    database: Database, table: Table, caller: Caller
) -> None:
    job_id = await table.add()
    runner = make_runner(database, JobKind("work", succeed))
    async with database.platform() as session:
        assert (await service.cancel(session, caller, job_id)).status is JobStatus.CANCELLED
    assert await runner.claim() is None
    async with database.platform() as session:
        job = await service.retry(session, caller, job_id)
    assert (job.status, job.attempts, job.finished_at) == (JobStatus.QUEUED, 0, None)
    assert await runner.claim() is not None


async def test_job_that_has_ended_cannot_be_cancelled(database: Database, table: Table, caller: Caller) -> None:
    job_id = await table.add()
    await table.change(job_id, "status = 'succeeded'")
    async with database.platform() as session:
        with pytest.raises(Conflict) as caught:
            await service.cancel(session, caller, job_id)
    assert caught.value.code == "job_has_ended"


async def test_recurring_job_cannot_be_cancelled_but_run_early(
    database: Database, table: Table, caller: Caller
) -> None:
    async with database.platform() as session:
        await service.ensure_recurring(session, [JobKind("tick", succeed, every_seconds=60)])
    [job] = await table.all()
    async with database.platform() as session:
        with pytest.raises(Conflict) as caught:
            await service.cancel(session, caller, job.id)
    assert caught.value.code == "job_is_recurring"
    await table.change(job.id, "status = 'failed', run_at = now() + interval '1 hour'")
    async with database.platform() as session:
        assert (await service.retry(session, caller, job.id)).status is JobStatus.QUEUED
    assert await make_runner(database, JobKind("tick", succeed)).claim() is not None


@pytest.mark.parametrize("status", ["queued", "running", "succeeded"])
async def test_job_that_has_not_ended_badly_cannot_be_retried(
    database: Database, table: Table, caller: Caller, status: str
) -> None:
    job_id = await table.add()
    await table.change(job_id, f"status = '{status}'")
    async with database.platform() as session:
        with pytest.raises(Conflict):
            await service.retry(session, caller, job_id)


async def test_unknown_job_is_not_found(database: Database, table: Table) -> None:
    async with database.platform() as session:
        with pytest.raises(service.JobNotFound):
            await service.get(session, uuid7())


async def test_pages_are_newest_first_and_filtered(database: Database, table: Table) -> None:
    ids = [await table.add("work" if number % 2 else "other") for number in range(5)]
    async with database.platform() as session:
        first = await service.list_page(session, status=None, kind=None, before=None, limit=3)
        rest = await service.list_page(session, status=None, kind=None, before=first[-1].id, limit=3)
        work = await service.list_page(session, status=JobStatus.QUEUED, kind="work", before=None, limit=10)
        dead = await service.list_page(session, status=JobStatus.DEAD, kind=None, before=None, limit=10)
    assert {job.id for job in [*first, *rest]} == set(ids)
    assert len(first) == 3
    assert all(newer.id > older.id for newer, older in itertools.pairwise(first))
    assert {job.kind for job in work} == {"work"}
    assert dead == []
