"""A catalog on a real database, with a recorder that remembers."""

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from tests.domains.catalog.kinds import KINDS
from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.crypto import MasterKey, SecretBox
from tollkeeper.core.permissions import Permission, Role, permissions_of_role
from tollkeeper.db.models.tenants import Tenant
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog.loader import SnapshotHolder, SnapshotLoader
from tollkeeper.domains.catalog.models import Models
from tollkeeper.domains.catalog.price_history import PriceHistory
from tollkeeper.domains.catalog.providers import Providers
from tollkeeper.domains.catalog.sealing import ProviderSecrets
from tollkeeper.domains.catalog.service import Catalog
from tollkeeper.domains.catalog.snapshot import Sources
from tollkeeper.domains.catalog.stored import StoredCatalogReader


def new_box(master: str = "one") -> SecretBox:
    return SecretBox(MasterKey(master * 32))


@dataclass
class Recorded:
    action: str
    object_id: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass
class Recorder:
    changes: list[Recorded] = field(default_factory=list)

    async def record(
        self,
        session: AsyncSession,
        caller: Any,
        *,
        action: str,
        object_type: str,
        object_id: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        self.changes.append(Recorded(action, object_id, before, after))


@dataclass(frozen=True)
class Someone:
    tenant_id: UUID
    permissions: frozenset[Permission]


@dataclass
class World:
    database: Database
    holder: SnapshotHolder
    loader: SnapshotLoader
    recorder: Recorder
    providers: Providers
    models: Models
    prices: PriceHistory
    admin: Someone
    developer: Someone
    tenant_id: UUID
    other_tenant_id: UUID

    async def snapshot(self) -> Snapshot:
        """What calls are served from, after every change so far."""
        await self.loader.load()
        return self.holder.current()


async def build_world(database: Database, sources: Sources, box: SecretBox | None = None) -> World:
    secrets = ProviderSecrets(box or new_box())
    holder = SnapshotHolder()
    reader = StoredCatalogReader(database, secrets, {kind.kind: kind.base_url for kind in KINDS})
    loader = SnapshotLoader(holder, reader, sources, SystemClock())
    recorder = Recorder()
    catalog = Catalog(kinds=KINDS, secrets=secrets, holder=holder, loader=loader, changes=recorder)
    prices = PriceHistory(catalog, SystemClock())
    async with database.platform() as session:
        tenants = [Tenant(name=f"t{os.urandom(6).hex()}", slug=f"t{os.urandom(6).hex()}") for _ in range(2)]
        session.add_all(tenants)
        await session.flush()
        ids = [tenant.id for tenant in tenants]
    await loader.load()
    return World(
        database,
        holder,
        loader,
        recorder,
        Providers(catalog),
        Models(catalog, prices),
        prices,
        Someone(ids[0], permissions_of_role(Role.PLATFORM_ADMIN)),
        Someone(ids[0], permissions_of_role(Role.DEVELOPER)),
        *ids,
    )


@pytest.fixture
async def database(new_database: Any) -> AsyncIterator[Database]:
    database = Database(new_database(), pool_size=3)
    yield database
    await database.close()


@pytest.fixture
async def world(database: Database) -> World:
    return await build_world(database, Sources())
