"""`database`: a fresh migrated one for each module; `batches`: batches that run, with a vendor behind them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.domains.batches.running import Running, running
from tollkeeper.db.session import Database


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=8)
    yield database
    await database.close()


@pytest.fixture
async def batches(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(database, tmp_path) as found:
        yield found
