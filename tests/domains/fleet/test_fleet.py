"""Who is alive, who may rebuild: on a real PostgreSQL."""

import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from tollkeeper.db.session import Database
from tollkeeper.domains.fleet.service import Fleet


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


async def test_workers_that_beat_have_to_answer_and_buried_ones_do_not(database: Database) -> None:
    one, other = (Fleet(database, expected=1, journal_path="here") for _ in range(2))
    await one.beat()
    await other.beat()

    asked = await one.call_for_counters(uuid4())
    await one.bury(other.worker_id)
    left = await one.live_workers()

    assert asked == {one.worker_id, other.worker_id}
    assert left == {one.worker_id}
    assert one.is_counted()


async def test_one_worker_at_a_time_rebuilds_a_tenants_counters(database: Database) -> None:
    one, other = (Fleet(database, expected=1, journal_path="here") for _ in range(2))
    tenant_id = uuid4()

    async with (
        one.rebuilding(tenant_id) as is_ours,
        other.rebuilding(tenant_id) as is_theirs,
        other.rebuilding(uuid4()) as is_another,
    ):
        pass
    async with other.rebuilding(tenant_id) as is_theirs_now:
        pass

    assert (is_ours, is_theirs, is_another, is_theirs_now) == (True, False, True, True)


async def test_a_neighbour_is_lost_when_its_process_and_its_journal_are_gone(
    database: Database, tmp_path: Path
) -> None:
    one, other, elsewhere = (Fleet(database, expected=1, journal_path=path) for path in (str(tmp_path),) * 2 + ("b",))
    for fleet in (one, other, elsewhere):
        await fleet.beat()
    assert await one.lost_here() == frozenset()

    done = subprocess.Popen(["true"])
    done.wait()
    async with database.platform() as session:
        await session.execute(text("UPDATE workers SET pid = :pid"), {"pid": done.pid})
    lock = tmp_path / socket.gethostname() / f"{other.worker_id}.lock"
    lock.parent.mkdir()
    lock.touch()
    assert await one.lost_here() == frozenset()
    lock.unlink()
    assert await one.lost_here() == {other.worker_id}
