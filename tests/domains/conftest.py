"""`plane`: the whole control plane on a fresh migrated database, one for each test module."""

from collections.abc import AsyncIterator

import pytest

from tests.domains.control_plane import ControlPlane, running_plane


@pytest.fixture(scope="module")
async def plane(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    async with running_plane(database_url, tmp_path_factory.mktemp("data")) as plane:
        yield plane


@pytest.fixture(autouse=True)
def _clock_of_its_own(request: pytest.FixtureRequest) -> None:
    """A test that moved the clock has moved it for itself only."""
    if "plane" in request.fixturenames:
        plane = request.getfixturevalue("plane")
        plane.clock.ahead = 0.0
        plane.services.counter_view.is_away = True
