"""Guardrail policies over HTTP, on a catalogue as wiring puts it together; who calls is said by the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from sqlalchemy import select

from tests.callers import someone
from tests.domains.catalog.conftest import new_box
from tests.domains.catalog.kinds import KINDS
from tests.domains.control_plane import MovableClock
from tollkeeper.configuration import read_declared
from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.core.config import Settings
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import ApiKey, AuditLog, Member, OutboxEvent, Team, Tenant, User
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog.control import CatalogControl, build_catalog
from tollkeeper.domains.catalog.loader import Declared
from tollkeeper.domains.catalog.prices import load_price_list
from tollkeeper.domains.guardrail_policies.control import build_guardrails
from tollkeeper.domains.guardrail_policies.lookup import StoredGuardrails
from tollkeeper.domains.guardrail_policies.policy_routes import router as policies
from tollkeeper.domains.guardrail_policies.routes import router as guardrails
from tollkeeper.gateway.guard_trial import GuardTrial
from tollkeeper.web.caller import Caller
from tollkeeper.web.deps import install_kernel

FILE = """
guardrails:
  - {name: from-file, starter: baseline, attach: [{model: nobody-calls-this}]}
"""
PII = {"rule": "pii", "action": "redact"}


class Site:
    """`admin` runs the platform, `ours` and `theirs` a tenant each."""

    def __init__(self, database: Database, catalog: CatalogControl, tenants: tuple[UUID, UUID]) -> None:
        self.database, self.catalog = database, catalog
        self.clock = MovableClock()
        self.our_tenant, self.their_tenant = tenants
        self.admin = someone(self.our_tenant, Role.PLATFORM_ADMIN)
        self.ours = someone(self.our_tenant, Role.TENANT_ADMIN)
        self.theirs = someone(self.their_tenant, Role.TENANT_ADMIN)
        self.caller: Caller = self.admin
        app = FastAPI()
        box = new_box()
        app.state.services = SimpleNamespace(
            settings=Settings(),
            clock=self.clock,
            database=database,
            secret_box=box,
            guardrails=build_guardrails(
                trial=GuardTrial(),
                declared=lambda: catalog.loader.sources.guardrail_policies,
                snapshot=catalog.holder.current,
                box=box,
                clock=self.clock,
            ),
        )
        install_kernel(app)
        app.include_router(policies, prefix="/api/v1")
        app.include_router(guardrails, prefix="/api/v1")
        self._app = app
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self), base_url="http://test/api/v1")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app({**scope, "state": {"caller": self.caller}}, receive, send)

    async def ask(self, caller: Caller, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        self.caller = caller
        return await self.client.request(method, path, json=body, **options)

    async def made(self, caller: Caller, name: str, *rules: Any, **fields: Any) -> dict[str, Any]:
        """A policy as it was created."""
        body = {"name": name, "rules": rules or [PII], **fields}
        answer = await self.ask(caller, "POST", "/guardrail-policies", body)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def snapshot(self) -> Snapshot:
        """What calls are held against, after every change so far."""
        await self.catalog.loader.load()
        return self.catalog.holder.current()

    async def new_key(self, tenant_id: UUID) -> UUID:
        """Of a new user."""
        user_id, key_id = uuid7(), uuid7()
        async with self.database.platform() as session:
            session.add(User(id=user_id, tenant_id=tenant_id, email=f"{user_id.hex}@example.com", name="Somebody"))
            await session.flush()
            session.add(Member(tenant_id=tenant_id, user_id=user_id, role="developer"))
            await session.flush()
            session.add(
                ApiKey(
                    id=key_id,
                    tenant_id=tenant_id,
                    user_id=user_id,
                    name="a key",
                    public_id=key_id.hex,
                    digest=key_id.bytes * 2,
                    pepper_id="p",
                    display_prefix="tk",
                    last_four="0000",
                    scopes=["inference"],
                )
            )
        return key_id

    async def new_team(self, tenant_id: UUID) -> UUID:
        team_id = uuid7()
        async with self.database.platform() as session:
            session.add(Team(id=team_id, tenant_id=tenant_id, name=f"team {team_id.hex}"))
        return team_id

    async def audited(self, policy_id: str) -> list[AuditLog]:
        async with self.database.platform() as session:
            query = select(AuditLog).where(AuditLog.object_id == policy_id).order_by(AuditLog.sequence)
            return list(await session.scalars(query))

    async def emitted(self, event: str) -> list[OutboxEvent]:
        async with self.database.platform() as session:
            return list(await session.scalars(select(OutboxEvent).where(OutboxEvent.event == event)))


@asynccontextmanager
async def running_site(database: Database, folder: Path) -> AsyncIterator[Site]:
    path = folder / "tollkeeper.yaml"
    path.write_text(FILE, encoding="utf-8")

    def read() -> Declared:
        return read_declared(path, {}, kinds=KINDS, price_list=load_price_list())

    catalog = build_catalog(
        database=database,
        box=new_box(),
        kinds=KINDS,
        price_list=load_price_list(),
        declared=read(),
        read_declared=read,
        clock=MovableClock(),
        guardrails=StoredGuardrails(new_box()).read,
    )
    first, second = uuid7(), uuid7()
    async with database.platform() as session:
        session.add_all([Tenant(id=one, name=f"t{one.hex}", slug=f"t{one.hex}") for one in (first, second)])
    await catalog.loader.load()
    site = Site(database, catalog, (first, second))
    async with site.client:
        yield site


def shown(prefix: str, value: UUID) -> str:
    return format_id(prefix, value)
