"""A job table on a real database, runners that poll and renew fast, and handlers that say when they are entered."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.callers import someone
from tollkeeper.core.embedded import EmbeddedPostgres
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.session import Database
from tollkeeper.domains.jobs import service
from tollkeeper.domains.jobs.runner import Runner
from tollkeeper.domains.jobs.schemas import JobContext, JobKind, JobView
from tollkeeper.web.caller import Caller

DEADLINE_SECONDS = 20.0


@dataclass
class Work:
    """A handler that waits until it is told to go on."""

    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    runs: int = 0
    at_once: int = 0
    most_at_once: int = 0
    cancelled: int = 0

    async def __call__(self, context: JobContext, payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
        self.runs += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.entered.release()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1
        return {"run": self.runs}

    async def wait_entered(self) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.entered.acquire()


@dataclass
class Table:
    """The job table, seen and bent by SQL."""

    database: Database

    async def add(self, kind: str = "work", payload: Mapping[str, Any] | None = None, **options: Any) -> UUID:
        async with self.database.platform() as session:
            return await service.enqueue(session, kind, payload or {}, **options)

    async def get(self, job_id: UUID) -> JobView:
        async with self.database.platform() as session:
            return await service.get(session, job_id)

    async def change(self, job_id: UUID, assignment: str) -> None:
        async with self.database.platform() as session:
            await session.execute(text(f"UPDATE jobs SET {assignment} WHERE id = :id"), {"id": job_id})

    async def value(self, job_id: UUID, expression: str) -> Any:
        async with self.database.platform() as session:
            row = await session.execute(text(f"SELECT {expression} FROM jobs WHERE id = :id"), {"id": job_id})
            return row.scalar_one()

    async def all(self) -> list[JobView]:
        async with self.database.platform() as session:
            return await service.list_page(session, status=None, kind=None, before=None, limit=100)

    async def until(self, job_id: UUID, status: str) -> JobView:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (job := await self.get(job_id)).status != status:
                await asyncio.sleep(0.02)
        return job


def make_runner(database: Database, *kinds: JobKind, name: str = "one", **options: Any) -> Runner:
    return Runner(database, kinds, name=name, **{"lease_seconds": 30.0, "poll_seconds": 0.02, **options})


@asynccontextmanager
async def running(runner: Runner) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(runner.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=8)
    yield database
    await database.close()


@pytest.fixture(scope="module")
async def tenant_id(database: Database) -> UUID:
    tenant_id = uuid7()
    async with database.platform() as session:
        await session.execute(
            text("INSERT INTO tenants (id, name, slug) VALUES (:id, 'acme', 'acme')"), {"id": tenant_id}
        )
    return tenant_id


@pytest.fixture
def caller(tenant_id: UUID) -> Caller:
    return someone(tenant_id, Role.PLATFORM_ADMIN)


@pytest.fixture
async def table(database: Database) -> Table:
    async with database.platform() as session:
        await session.execute(text("DELETE FROM jobs"))
    return Table(database)


@pytest.fixture
def database_gone(database_url: str, postgres_server: EmbeddedPostgres) -> Callable[[], AbstractContextManager[None]]:
    """Inside it every connection to this module's database is closed and none is accepted."""
    name = database_url.rpartition("/")[2]

    def sql(statement: str) -> None:
        postgres_server.run_sql(statement, database="postgres", as_superuser=True)

    @contextmanager
    def gone() -> Iterator[None]:
        sql(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        try:
            yield
        finally:
            sql(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")

    return gone
