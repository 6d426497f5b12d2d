"""Two workers over one Valkey, with an exact cache for everything."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.cache.caching import Cached, attached, before, linked, policy, worker
from tests.gateway.upstream import FakeUpstream
from tollkeeper.core.redis import RedisLink


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[RedisLink]:
    async with linked(valkey_url) as opened:
        yield opened


@pytest.fixture
async def cached(tmp_path: Path, vendor: FakeUpstream, link: RedisLink) -> AsyncIterator[Cached]:
    snap = before(vendor, attached(policy()))
    async with worker(tmp_path / "one", snap, link) as one, worker(tmp_path / "two", snap, link) as two:
        two.gateway.keys.records, two.gateway.keys._digests = one.gateway.keys.records, one.gateway.keys._digests
        yield Cached(one, two, vendor, link)
