"""PostgreSQL killed in the middle of shipping, again and again: nothing is lost and nothing counts twice."""

import asyncio
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.money.records import make_settlement
from tollkeeper.contracts.usage import Settlement
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.embedded import EmbeddedPostgres
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.db import migrations
from tollkeeper.db.session import Database
from tollkeeper.domains.usage.sink import LedgerSink
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.money.shipper import Shipper

KILLS = 3
CALLS_A_TURN = 20

pytestmark = pytest.mark.fault


async def test_a_killed_postgres_loses_no_row_and_doubles_none(server_dir: Path, tmp_path: Path) -> None:
    settled: list[Settlement] = []
    is_calling = True
    server = EmbeddedPostgres(server_dir)
    await asyncio.to_thread(server.start)
    await migrations.upgrade(server.endpoint.url)
    database = Database(server.endpoint.url)
    clock = SystemClock()
    journal = Journal(tmp_path, host="host", clock=clock, max_bytes=64 << 20, segment_bytes=64 * 1024)
    sink = LedgerSink(database, clock, retention_days=400)
    shipper = Shipper(journal, sink, clock, directory=tmp_path, interval_seconds=0.001)

    async def call() -> None:
        while is_calling:
            for _ in range(CALLS_A_TURN):
                settlement = make_settlement()
                journal.intent(settlement.intent)
                journal.settle(settlement)
                settled.append(settlement)
            await asyncio.sleep(0.01)

    async def ship_again() -> None:
        """The same lines once more, as after a restart between commit and acknowledgement."""
        chance = random.Random(5)
        while is_calling:
            if settled:
                with suppress(DependencyUnavailable):
                    await sink.ship(chance.choices(settled, k=50))
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(shipper.run()), asyncio.create_task(call()), asyncio.create_task(ship_again())]
    try:
        for _ in range(KILLS):
            await asyncio.sleep(0.4)
            os.kill(_postmaster(server_dir), signal.SIGKILL)
            await asyncio.sleep(0.2)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
        await asyncio.sleep(0.2)
        is_calling = False
        await asyncio.gather(*tasks[1:])
        assert await shipper.drain(20)
    finally:
        is_calling = False
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with database.platform() as session:
        (rows, calls, charged) = (
            await session.execute(text("SELECT count(*), count(DISTINCT request_id), sum(charge_nano) FROM usage_logs"))
        ).one()
        rolled_up = (await session.execute(text("SELECT sum(requests), sum(charge_nano) FROM usage_rollups"))).one()
    await database.close()
    journal.close()
    await asyncio.to_thread(server.stop)

    assert len(settled) > 500
    assert rows == calls == len(settled)
    assert tuple(rolled_up) == (rows, charged)


def _postmaster(server_dir: Path) -> int:
    (path,) = server_dir.rglob("postmaster.pid")
    return int(path.read_text().split()[0])
