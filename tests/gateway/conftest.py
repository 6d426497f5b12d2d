"""A scripted vendor and a gateway in front of it, both over real sockets."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.serving import Serving, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, running_upstream


@pytest.fixture
async def vendor() -> AsyncIterator[FakeUpstream]:
    async with running_upstream() as upstream:
        yield upstream


@pytest.fixture
async def gateway(tmp_path: Path, vendor: FakeUpstream) -> AsyncIterator[Serving]:
    """One provider, one model under two names, an embedding model."""
    snap = snapshot(
        [provider("one", vendor.base_url)],
        [
            route("gpt-4o-mini", ("one", "gpt-4o-mini")),
            route("alias", ("one", "gpt-4o-mini")),
            route("embed", ("one", "embed")),
        ],
    )
    async with serving(tmp_path, snap) as running:
        yield running
