"""The request log on a real database, and a client that calls its routes as whoever a test says."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from tests.callers import someone
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.permissions import Role
from tollkeeper.db.session import Database
from tollkeeper.domains.request_logs.routes import router
from tollkeeper.domains.request_logs.sink import RequestLogSink
from tollkeeper.web.deps import Caller, install_kernel

Ask = Callable[..., Any]


@pytest.fixture
async def database(new_database: Callable[[], str]) -> AsyncIterator[Database]:
    opened = Database(new_database())
    yield opened
    await opened.close()


@pytest.fixture
def sink(database: Database) -> RequestLogSink:
    return RequestLogSink(database, SystemClock(), retention_days=30)


@pytest.fixture
async def ask(database: Database) -> AsyncIterator[Ask]:
    """`await ask("/req_…", caller_tenant=…, role=…, limit=2)`: the answer to that caller; other words are parameters."""
    app = FastAPI()
    install_kernel(app)
    app.include_router(router, prefix="/api/v1")
    app.state.services = SimpleNamespace(settings=Settings(_env_file=None), clock=SystemClock(), database=database)
    callers: list[Caller] = []

    async def known(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = {"caller": callers[-1]}
        await app(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="http://test") as client:

        async def call(
            path: str = "",
            *,
            caller_tenant: UUID,
            role: Role = Role.TENANT_ADMIN,
            caller_user: UUID | None = None,
            **params: Any,
        ) -> httpx.Response:
            caller = someone(caller_tenant, role)
            callers.append(caller if caller_user is None else replace(caller, user_id=caller_user))
            return await client.get(f"/api/v1/requests{path}", params=params)

        yield call
