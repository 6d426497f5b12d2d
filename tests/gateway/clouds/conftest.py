"""A token service beside the vendor, and the client that asks it."""

from collections.abc import AsyncIterator

import pytest

from tests.gateway.serving import ManualClock
from tests.gateway.upstream import FakeUpstream, running_upstream
from tollkeeper.core.config import Settings
from tollkeeper.gateway.cloud_tokens import Tokens
from tollkeeper.gateway.upstream import Upstream


@pytest.fixture
async def service() -> AsyncIterator[FakeUpstream]:
    async with running_upstream() as running:
        yield running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def tokens(clock: ManualClock) -> AsyncIterator[Tokens]:
    upstream = Upstream(Settings(_env_file=None), clock)
    yield Tokens(upstream, clock)
    await upstream.aclose()
