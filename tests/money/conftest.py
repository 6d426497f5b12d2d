"""Workers on a real Redis that is empty at first, with a ledger and a workers' table in memory."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.money.fleet_of_workers import Hall, Ledger, Worker
from tests.money.nodes import running_cluster

OpenWorker = Callable[..., Awaitable[Worker]]


@pytest.fixture
async def valkey_client(valkey_url: str) -> AsyncIterator[Redis]:
    """A look at Redis past everything that is tested."""
    async with Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as url:
        yield url


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def hall() -> Hall:
    return Hall()


@pytest.fixture
async def open_worker(valkey_url: str, tmp_path: Path, ledger: Ledger, hall: Hall) -> AsyncIterator[OpenWorker]:
    """`await open_worker(folder="…", url=…)`: a worker with its journal in that folder."""
    async with Redis.from_url(valkey_url) as client:
        await client.flushall()
    opened: list[Worker] = []

    async def build(folder: str = "shared", url: str = valkey_url, **options: float) -> Worker:
        opened.append(Worker(url, tmp_path / folder, ledger, hall, **options))
        await opened[-1].open()
        return opened[-1]

    yield build
    for worker in opened:
        if worker.id in hall.workers:
            await worker.close()
