"""A catalog on a real database, as wiring puts it together."""

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import UUID

import pytest
from sqlalchemy import select

from tests.callers import someone
from tests.domains.catalog.kinds import KINDS
from tollkeeper.contracts.catalog import DeclaredCatalog, Snapshot
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.crypto import MasterKey, SecretBox
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import AuditLog, Tenant
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog.control import CatalogControl, build_catalog
from tollkeeper.domains.catalog.loader import Declared, ReadDeclared
from tollkeeper.domains.catalog.prices import load_price_list
from tollkeeper.web.caller import Caller

NOTHING = Declared(DeclaredCatalog(), DeclaredCatalog())


def new_box(master: str = "one") -> SecretBox:
    return SecretBox(MasterKey(master * 32))


@dataclass
class World:
    database: Database
    catalog: CatalogControl
    admin: Caller
    developer: Caller
    tenant_id: UUID
    other_tenant_id: UUID

    async def snapshot(self) -> Snapshot:
        """What calls are served from, after every change so far."""
        await self.catalog.loader.load()
        return self.catalog.holder.current()

    async def audited(self) -> list[AuditLog]:
        async with self.database.platform() as session:
            return list(await session.scalars(select(AuditLog).order_by(AuditLog.sequence)))


async def build_world(
    database: Database,
    declared: Declared = NOTHING,
    box: SecretBox | None = None,
    read_declared: ReadDeclared = lambda: NOTHING,
) -> World:
    catalog = build_catalog(
        database=database,
        box=box or new_box(),
        kinds=KINDS,
        price_list=load_price_list(),
        declared=declared,
        read_declared=read_declared,
        clock=SystemClock(),
    )
    async with database.platform() as session:
        tenants = [Tenant(name=f"t{os.urandom(6).hex()}", slug=f"t{os.urandom(6).hex()}") for _ in range(2)]
        session.add_all(tenants)
        await session.flush()
        one, other = (tenant.id for tenant in tenants)
    await catalog.loader.load()
    return World(database, catalog, someone(one, Role.PLATFORM_ADMIN), someone(one, Role.DEVELOPER), one, other)


@pytest.fixture
async def database(new_database: Callable[[], str]) -> AsyncIterator[Database]:
    database = Database(new_database(), pool_size=3)
    yield database
    await database.close()


@pytest.fixture
async def world(database: Database) -> World:
    return await build_world(database)
