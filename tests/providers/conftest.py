"""One gateway for all vendors, one scripted upstream behind it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.gateway.serving import Serving, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, running_upstream
from tests.providers.vendors import Vendor
from tollkeeper.contracts.catalog import Credential
from tollkeeper.core.ids import uuid7


@dataclass
class Bench:
    gateway: Serving
    upstream: FakeUpstream

    def use(self, vendor: Vendor) -> None:
        """Let `the-model` be this vendor's."""
        config = provider(
            vendor.name,
            f"http://127.0.0.1:{self.upstream.port}{vendor.base}",
            kind=vendor.kind,
            options=vendor.options,
            credentials=(Credential(uuid7(), vendor.secret),),
        )
        self.gateway.snapshots.snapshot = snapshot([config], [route("the-model", (vendor.name, vendor.model))])
        self.upstream.seen.clear()


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("bench")
    async with running_upstream() as upstream:
        snap = snapshot([provider("one", upstream.base_url)], [route("the-model", ("one", "gpt-4o-mini"))])
        async with serving(folder, snap) as gateway:
            yield Bench(gateway, upstream)
