"""A mock upstream in this process, on a free port."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from bench import mock_upstream
from bench.mock_upstream import HOST, Stats


@dataclass(frozen=True)
class Upstream:
    port: int
    stats: Stats

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    server, stats = await mock_upstream.start(0)
    yield Upstream(server.sockets[0].getsockname()[1], stats)
    server.close()
    await asyncio.wait_for(server.wait_closed(), 5)
