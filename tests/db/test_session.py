"""What a transaction promises when PostgreSQL is away, slow, restarted, or its caller gives up."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.embedded import EmbeddedPostgres
from tollkeeper.core.errors import Conflict, DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.db import models
from tollkeeper.db.breaker import Breaker
from tollkeeper.db.session import Database, after_commit


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Accepts connections and never says a word: PostgreSQL stalled."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://x:y@127.0.0.1:{port}/z"
    finally:
        server.close()
        for writer in held:
            writer.close()
        await server.wait_closed()


async def _read(database: Database) -> None:
    async with database.platform() as session:
        await session.execute(text("SELECT 1"))


async def _look(database: Database, seconds: float | None = None, sql: str = "SELECT 1") -> None:
    async with database.lookup(deadline_seconds=seconds) as session:
        await session.execute(text(sql))


@asynccontextmanager
async def opened(url: str, **options: object) -> AsyncIterator[Database]:
    database = Database(url, **options)  # type: ignore[arg-type]
    try:
        yield database
    finally:
        await database.close()


async def test_a_server_that_is_away_is_a_dependency_fault() -> None:
    async with opened("postgresql://x:y@127.0.0.1:1/z") as database:
        for attempt in (_read(database), _look(database), database.check()):
            with pytest.raises(DependencyUnavailable):
                await attempt


async def test_a_stalled_server_costs_a_lookup_its_deadline_and_no_more() -> None:
    async with silent_server() as url, opened(url, lookup_seconds=0.1) as database:
        begun = time.monotonic()
        with pytest.raises(DependencyUnavailable) as refused:
            await _look(database)
        assert time.monotonic() - begun < 1
        assert refused.value.retry_after_seconds


async def test_once_the_breaker_is_open_a_stalled_server_costs_a_lookup_nothing() -> None:
    async with silent_server() as url, opened(url) as database:
        for _ in range(3):
            with pytest.raises(DependencyUnavailable):
                await _look(database)
        begun = time.monotonic()
        for _ in range(50):
            with pytest.raises(DependencyUnavailable):
                await _look(database)
        # At most a probe each 0.25 s pays the deadline.
        assert time.monotonic() - begun < 0.5


def test_the_breaker_lets_one_through_after_its_pause_and_closes_on_success() -> None:
    breaker = Breaker()
    for now in (10.0, 10.1, 10.2):
        assert breaker.admits(now)
        breaker.failed(now)
    assert not breaker.admits(10.3)
    assert [breaker.admits(10.46), breaker.admits(10.46)] == [True, False]
    breaker.succeeded()
    assert all(breaker.admits(10.47) for _ in range(3))


async def test_a_slow_query_is_given_up_and_the_next_lookup_works(database_url: str) -> None:
    async with opened(database_url, lookup_pool_size=1) as database:
        await _look(database, 5)
        with pytest.raises(DependencyUnavailable):
            await _look(database, 0.1, "SELECT pg_sleep(20)")
        await _look(database, 5)


async def test_a_connection_that_takes_longer_than_the_deadline_serves_the_next_lookup(database_url: str) -> None:
    async with opened(database_url, lookup_pool_size=1) as database:
        with pytest.raises(DependencyUnavailable):
            await _look(database, 0.0001)
        deadline = time.monotonic() + 10
        while not database._lookups.pool.checkedin():  # type: ignore[attr-defined]
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await _look(database, 1)


async def test_lookups_do_not_wait_for_a_full_pool(database_url: str) -> None:
    async with opened(database_url, pool_size=1, pool_wait_seconds=0.05) as database, database.platform():
        await _look(database, 5)
        with pytest.raises(DependencyUnavailable):
            await _read(database)


async def test_a_lookup_reads_and_cannot_write(database: Database) -> None:
    with pytest.raises(Exception, match="permission denied"):
        await _look(database, 5, "UPDATE api_keys SET status = 'active'")
    with pytest.raises(Exception, match="permission denied"):
        await _look(database, 5, "SELECT password_hash FROM users")


async def test_after_a_restart_of_the_server_the_next_transaction_works(
    database_url: str, postgres_server: EmbeddedPostgres
) -> None:
    async with opened(database_url, pool_size=3, lookup_pool_size=2) as database:
        await asyncio.gather(*(_read(database) for _ in range(3)), _look(database, 5))
        name = database_url.rpartition("/")[2]
        postgres_server.run_sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'", as_superuser=True
        )
        await _read(database)
        await _look(database, 5)


async def test_a_connection_lost_in_the_middle_is_a_dependency_fault(
    database_url: str, postgres_server: EmbeddedPostgres
) -> None:
    async def lose() -> None:
        async with database.platform() as session:
            pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await asyncio.to_thread(postgres_server.run_sql, f"SELECT pg_terminate_backend({pid})", as_superuser=True)
            await session.execute(text("SELECT 1"))

    async with opened(database_url, pool_size=1) as database:
        with pytest.raises(DependencyUnavailable):
            await lose()
        await _read(database)


async def test_a_cancelled_statement_closes_its_connection(database_url: str) -> None:
    async with opened(database_url, pool_size=1) as database:
        async with database.platform() as session:
            before = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()

        async def sleep() -> None:
            async with database.platform() as session:
                await session.execute(text("SELECT pg_sleep(20), 'stranger'"))

        task = asyncio.create_task(sleep())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        async with database.platform() as session:
            after, answer = (await session.execute(text("SELECT pg_backend_pid(), 'mine'"))).one()
        assert answer == "mine"
        assert after != before


async def test_a_mistake_in_sql_is_not_called_an_outage(database: Database) -> None:
    async def twice() -> None:
        async with database.platform() as session:
            for _ in range(2):
                await session.execute(text("INSERT INTO system_state (key, value) VALUES ('twice', '1')"))

    with pytest.raises(IntegrityError):
        await twice()


async def test_two_changes_of_one_version_conflict(database: Database) -> None:
    tenant = models.Tenant(id=uuid7(), name="conflict", slug="conflict")
    async with database.platform() as session:
        session.add(tenant)

    async def rename(name: str, wait: asyncio.Event, done: asyncio.Event) -> int:
        async with database.platform() as session:
            row = await session.get_one(models.Tenant, tenant.id)
            row.name = name
            done.set()
            await wait.wait()
            await session.flush()
            return row.version

    first, second, go = asyncio.Event(), asyncio.Event(), asyncio.Event()
    tasks = [asyncio.create_task(rename(f"conflict {i}", go, done)) for i, done in enumerate((first, second))]
    await asyncio.gather(first.wait(), second.wait())
    go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Conflict", "int"]
    assert 2 in results
    assert any(isinstance(result, Conflict) and result.code == "concurrent_change" for result in results)


async def test_what_waits_for_the_commit_runs_after_it_and_not_without_it(database: Database) -> None:
    ran: list[str] = []

    async def work(name: str, *, fails: bool) -> None:
        async def hook() -> None:
            async with database.platform() as other:
                found = await other.execute(text("SELECT count(*) FROM system_state WHERE key = :key"), {"key": name})
                ran.append(f"{name} {found.scalar_one()}")

        async with database.platform() as session:
            await session.execute(text("INSERT INTO system_state (key, value) VALUES (:key, '1')"), {"key": name})
            after_commit(session, hook)
            if fails:
                raise RuntimeError("stop")

    await work("kept", fails=False)
    with pytest.raises(RuntimeError, match="stop"):
        await work("lost", fails=True)
    assert ran == ["kept 1"]


async def test_every_session_carries_the_collaborators_it_was_given(database_url: str) -> None:
    def carried(session: AsyncSession) -> object:
        return session.info["publisher"]

    async with opened(database_url, session_info={"publisher": "here"}) as database:
        async with database.tenant(uuid7()) as session:
            assert carried(session) == "here"
            session.info["publisher"] = "changed"
        async with database.platform() as session:
            assert carried(session) == "here"
        database.carry("publisher", "another")
        async with database.platform() as session:
            assert carried(session) == "another"


async def test_bulk_writes_share_the_transaction_of_the_role(database: Database) -> None:
    async with database.raw_platform() as connection:
        assert await connection.fetchval("SELECT current_user") == "tk_platform"
        await connection.execute("INSERT INTO system_state (key, value) VALUES ('raw', '1')")
    async with database.platform() as session:
        assert (await session.execute(text("SELECT count(*) FROM system_state WHERE key = 'raw'"))).scalar_one() == 1


async def test_behind_a_pooler_nothing_stays_prepared_under_a_shared_name(database_url: str) -> None:
    async with opened(database_url, pool_size=1, is_behind_pooler=True) as database:
        for _ in range(3):
            await _read(database)
        async with database.platform() as session:
            await session.execute(text("SELECT count(*) FROM tenants"))
            left = await session.execute(
                text("SELECT name FROM pg_prepared_statements WHERE name LIKE '\\_\\_asyncpg%'")
            )
            assert list(left) == []
