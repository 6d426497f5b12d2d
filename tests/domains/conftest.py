"""`plane`: the whole control plane on a fresh migrated database, one for each test module."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.domains.control_plane import ControlPlane, build_control_plane
from tollkeeper.core.config import Settings
from tollkeeper.db.session import Database


@pytest.fixture(scope="module")
async def plane(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    folder: Path = tmp_path_factory.mktemp("data")
    database = Database(database_url, pool_size=10, lookup_seconds=2.0)
    plane = await build_control_plane(database, Settings(_env_file=None, data_dir=folder))
    yield plane
    # A test that moved the clock has moved it for its own time only.
    await database.close()


@pytest.fixture(autouse=True)
def _clock_of_its_own(request: pytest.FixtureRequest) -> None:
    if "plane" in request.fixturenames:
        request.getfixturevalue("plane").clock.ahead = 0.0
