"""`database`: a fresh migrated one for each module; `kept`: files behind the gateway."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.domains.files.keeping import Keeping, keeping
from tollkeeper.db.session import Database


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=4)
    yield database
    await database.close()


@pytest.fixture
async def kept(database: Database, tmp_path: Path) -> AsyncIterator[Keeping]:
    async with keeping(database, tmp_path) as running:
        yield running
