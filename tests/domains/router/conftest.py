"""Two workers' targets behind the router's routes, on a real database, heard by real listeners."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from tests.callers import someone
from tollkeeper.contracts.catalog import Credential, ModelRoute, ProviderConfig, Snapshot
from tollkeeper.contracts.routing import BreakerRule, Place, Target
from tollkeeper.core.announcements import PUBLISHER, Announcement, Listener, Publisher, Topic
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.errors import UpstreamError
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.core.redis import RedisLink, create_client
from tollkeeper.db.models import Tenant
from tollkeeper.db.session import Database
from tollkeeper.domains.router.routes import router
from tollkeeper.domains.router.service import Router
from tollkeeper.gateway.hint_line import CHANNEL, HintLine
from tollkeeper.gateway.provider import Failure, FailureClass
from tollkeeper.gateway.routing.targets import Targets
from tollkeeper.web.deps import install_kernel

ONE, TWO = UUID(int=1), UUID(int=2)
OURS, THEIRS = uuid7(), uuid7()
RULE = BreakerRule(failures=3, open_seconds=60.0, most_open_seconds=60.0, floor_millionths=0)
DEADLINE_SECONDS = 15.0


def catalog() -> Snapshot:
    """A shared model, and one of each tenant."""
    acme = ProviderConfig(uuid7(), "acme", "openai", "https://acme.test", (Credential(ONE, "s"), Credential(TWO, "s")))
    beta = ProviderConfig(uuid7(), "beta", "openai", "https://beta.test", (Credential(ONE, "s"),))
    models: dict[tuple[UUID | None, str], ModelRoute] = {
        (tenant, name): ModelRoute(uuid7(), name, (Target(provider, model),), tenant_id=tenant)
        for tenant, name, provider, model in (
            (None, "chat", "acme", "large"),
            (OURS, "mine", "beta", "ours-alone"),
            (THEIRS, "yours", "beta", "theirs-alone"),
        )
    }
    return Snapshot(1, MappingProxyType({"acme": acme, "beta": beta}), MappingProxyType(models))


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not is_true():
            await asyncio.sleep(0.02)


@dataclass
class Worker:
    targets: Targets
    clock: SystemClock

    def fail(self, provider: str = "acme", model: str = "large", credential: UUID = ONE, times: int = 3) -> None:
        now = self.clock.monotonic()
        for _ in range(times):
            ticket = self.targets.enter(Place(provider, model, credential), RULE, now)
            assert ticket is not None
            ticket.failed(now, Failure(FailureClass.SERVER, UpstreamError("no")))

    def lets_in(self, provider: str = "acme", model: str = "large", credential: UUID = ONE) -> bool:
        now = self.clock.monotonic()
        ticket = self.targets.enter(Place(provider, model, credential), RULE, now)
        if ticket is not None:
            ticket.left(now)
        return ticket is not None

    def heard(self, announcement: Announcement) -> None:
        if announcement.topic is Topic.TARGETS:
            self.targets.hear_reset(announcement.subject, self.clock.monotonic())


@dataclass
class Fleet:
    one: Worker
    other: Worker
    database: Database
    ask: Callable[..., Any]


async def open_worker(stack: AsyncExitStack, database_url: str, redis_url: str, snapshot: Snapshot) -> Worker:
    clock = SystemClock()
    link = RedisLink(redis_url, clock, connect_seconds=5.0, operation_seconds=5.0)
    await link.start()
    stack.push_async_callback(link.close)
    line = HintLine(link)
    worker = Worker(Targets(lambda: snapshot, chance=lambda: 0.0, line=line), clock)

    def hear(message: bytes) -> None:
        worker.targets.hear(message, clock.monotonic())

    line.hear = hear
    listener = Listener(
        database_url,
        create_client(redis_url, operation_seconds=None),
        on_announcement=worker.heard,
        on_resync=lambda: None,
        on_message={CHANNEL: hear},
    )
    await listener.start()
    stack.push_async_callback(listener.close)
    await until(lambda: listener.state().postgres.is_connected and listener.state().redis.is_connected)
    return worker


@pytest.fixture
async def fleet(new_database: Callable[[], str], valkey_url: str) -> AsyncIterator[Fleet]:
    """`await fleet.ask("GET", "/health", role=…, tenant=…)` asks the first worker."""
    url, snapshot = new_database(), catalog()
    async with AsyncExitStack() as stack:
        publisher = Publisher(create_client(valkey_url))
        stack.push_async_callback(publisher.close)
        database = Database(url, session_info={PUBLISHER: publisher})
        stack.push_async_callback(database.close)
        one = await open_worker(stack, url, valkey_url, snapshot)
        other = await open_worker(stack, url, valkey_url, snapshot)
        app = FastAPI()
        install_kernel(app)
        app.include_router(router, prefix="/api/v1")
        clock = SystemClock()
        app.state.services = SimpleNamespace(
            settings=Settings(_env_file=None),
            clock=clock,
            database=database,
            router=Router(one.targets, lambda: snapshot, clock),
        )
        callers: list[Any] = []

        async def known(scope: Any, receive: Any, send: Any) -> None:
            scope["state"] = {"caller": callers[-1]}
            await app(scope, receive, send)

        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="http://test")
        )
        home = uuid7()
        async with database.platform() as session:
            session.add(Tenant(id=home, name="Home", slug=f"home-{home.hex}"))

        async def ask(
            method: str, path: str, *, role: Role = Role.PLATFORM_ADMIN, tenant: UUID = home, **more: Any
        ) -> httpx.Response:
            callers.append(someone(tenant, role))
            return await client.request(method, f"/api/v1/router{path}", **more)

        yield Fleet(one, other, database, ask)
