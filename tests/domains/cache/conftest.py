"""Two workers' caches over one Valkey, heard by real listeners, behind the explorer's routes on a real database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from tests.callers import someone
from tollkeeper.contracts.chat import Chunk, Usage
from tollkeeper.core.announcements import Listener
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.core.redis import RedisLink, create_client
from tollkeeper.db.models import Tenant
from tollkeeper.db.session import Database
from tollkeeper.domains.cache.routes import router
from tollkeeper.domains.cache.service import CacheExplorer
from tollkeeper.gateway.cache.desk import Desk
from tollkeeper.gateway.cache.entry import Entry, Seal
from tollkeeper.gateway.cache.meaning import Meaning, Parts
from tollkeeper.gateway.cache.memory import Memory
from tollkeeper.gateway.cache.metrics import CacheMetrics
from tollkeeper.gateway.cache.shelf import CHANNEL, Shelf
from tollkeeper.gateway.cache.store import Store
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.web.deps import install_kernel

DEADLINE_SECONDS = 15.0
DAY = 86_400.0


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not is_true():
            await asyncio.sleep(0.02)


@dataclass
class Worker:
    shelf: Shelf
    store: Store
    meaning: Meaning
    clock: SystemClock

    async def keep(self, tenant: UUID, number: int, *, age: float = 0.0, ttl: float = 3_600.0, **fields: Any) -> Entry:
        """An answer as a call leaves it, once it is in Redis."""
        values: dict[str, Any] = {
            "tenant_id": tenant,
            "fingerprint": number.to_bytes(32, "big"),
            "chunks": (Chunk({"choices": [{"message": {"content": "a secret answer"}}]}, is_final=True),),
            "is_stream": False,
            "created_at": self.clock.unix() - age,
            "model": "chat",
            "provider": "acme",
            "upstream_model": "large",
            "usage": Usage(input=12, output=30),
            "saved_nano": 19_800,
            "seconds": 1.5,
        }
        entry = Entry(**(values | fields))
        assert self.shelf.keep(entry, ttl, begun_at=self.clock.unix())
        async with asyncio.timeout(DEADLINE_SECONDS):
            while entry.id not in await self.store.ids(tenant, 0, 1_000):
                await asyncio.sleep(0.01)
        return entry

    def has(self, entry: Entry) -> bool:
        """In its memory."""
        return self.shelf.peek(entry.tenant_id, entry.fingerprint, 100 * DAY) is not None


@dataclass
class Fleet:
    one: Worker
    other: Worker
    database: Database
    link: RedisLink
    tenant: UUID
    stranger: UUID
    ask: Callable[..., Any]


async def open_worker(stack: AsyncExitStack, database_url: str, redis_url: str, link: RedisLink) -> Worker:
    clock, told = SystemClock(), CacheMetrics(Metrics().registry)
    store = Store(link, tenant_bytes=10_000_000)
    shelf = Shelf(Memory(1_000_000), store, Seal(b"k" * 32), told, clock)
    meaning = Meaning(Parts(link, b"v" * 32, told, clock, tenant_bytes=10_000_000, worker_bytes=10_000_000))
    stack.push_async_callback(meaning.close)
    listener = Listener(
        database_url,
        create_client(redis_url, operation_seconds=None),
        on_announcement=lambda _: None,
        on_resync=lambda: None,
        on_message={CHANNEL: shelf.hear},
    )
    await listener.start()
    stack.push_async_callback(listener.close)
    await until(lambda: listener.state().postgres.is_connected and listener.state().redis.is_connected)
    return Worker(shelf, store, meaning, clock)


@pytest.fixture
async def fleet(new_database: Callable[[], str], valkey_url: str) -> AsyncIterator[Fleet]:
    """`await fleet.ask("GET", "/entries", role=…, tenant=…)` asks the first worker."""
    url = new_database()
    async with AsyncExitStack() as stack:
        database = Database(url)
        stack.push_async_callback(database.close)
        link = RedisLink(valkey_url, SystemClock(), connect_seconds=10.0, operation_seconds=10.0)
        await link.start()
        stack.push_async_callback(link.close)
        one = await open_worker(stack, url, valkey_url, link)
        other = await open_worker(stack, url, valkey_url, link)
        app = FastAPI()
        install_kernel(app)
        app.include_router(router, prefix="/api/v1")
        app.state.services = SimpleNamespace(
            settings=Settings(_env_file=None),
            clock=one.clock,
            database=database,
            cache=CacheExplorer(Desk(one.shelf, one.store, one.meaning, one.shelf.hear), one.clock),
        )
        callers: list[Any] = []

        async def known(scope: Any, receive: Any, send: Any) -> None:
            scope["state"] = {"caller": callers[-1]}
            await app(scope, receive, send)

        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="http://test")
        )
        ours, theirs = uuid7(), uuid7()
        async with database.platform() as session:
            session.add_all([Tenant(id=each, name=each.hex, slug=f"t-{each.hex}") for each in (ours, theirs)])

        async def ask(
            method: str, path: str, *, role: Role = Role.TENANT_ADMIN, tenant: UUID = ours, **more: Any
        ) -> httpx.Response:
            callers.append(someone(tenant, role))
            return await client.request(method, f"/api/v1/cache{path}", **more)

        yield Fleet(one, other, database, link, ours, theirs, ask)
