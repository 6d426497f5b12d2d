"""Route policies over HTTP, on a catalogue as wiring puts it together; who calls is said by the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from fastapi import FastAPI

from tests.domains.catalog.conftest import World, build_world
from tests.domains.catalog.kinds import KINDS
from tollkeeper.configuration import read_declared
from tollkeeper.core.config import Settings
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog.loader import Declared
from tollkeeper.domains.catalog.prices import load_price_list
from tollkeeper.domains.catalog.routes import router as catalog
from tollkeeper.domains.route_policies.routes import router as route_policies
from tollkeeper.domains.route_policies.service import RoutePolicies
from tollkeeper.web.caller import Caller
from tollkeeper.web.deps import install_kernel

FILE = """
providers: [{name: filed, kind: openai, api_key: x}]
route_policies: [{name: from-file, branches: [{provider: filed, model: gpt-4o}]}]
models: [{name: filed-model, policy: from-file}]
"""


class Site:
    def __init__(self, world: World) -> None:
        app = FastAPI()
        app.state.services = SimpleNamespace(
            settings=Settings(),
            database=world.database,
            catalog=world.catalog,
            provider_probe=None,
            route_policies=RoutePolicies(world.catalog.policies),
        )
        install_kernel(app)
        app.include_router(catalog, prefix="/api/v1")
        app.include_router(route_policies, prefix="/api/v1")
        self.world = world
        self.caller: Caller = world.admin
        self._app = app
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self), base_url="http://test/api/v1")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app({**scope, "state": {"caller": self.caller}}, receive, send)

    async def made(self, name: str, *branches: Any, **fields: Any) -> dict[str, Any]:
        """A policy as it was created."""
        answer = await self.client.post("/route-policies", json={"name": name, "branches": branches, **fields})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def running_site(database: Database, folder: Path) -> AsyncIterator[Site]:
    path = folder / "tollkeeper.yaml"
    path.write_text(FILE, encoding="utf-8")

    def read() -> Declared:
        return read_declared(path, {}, kinds=KINDS, price_list=load_price_list())

    site = Site(await build_world(database, read(), read_declared=read))
    async with site.client:
        yield site
