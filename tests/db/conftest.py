"""A database of this module, two tenants in it, and the product's own way in."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import text

from tollkeeper.core.ids import uuid7
from tollkeeper.db.session import Database


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=4, lookup_seconds=5)
    yield database
    await database.close()


@pytest.fixture(scope="module")
async def tenants(database: Database) -> tuple[UUID, UUID]:
    """Each has one user whose e-mail begins with the tenant's name."""
    ids = (uuid7(), uuid7())
    async with database.platform() as session:
        for tenant_id, name in zip(ids, ("acme", "globex"), strict=True):
            await session.execute(
                text("INSERT INTO tenants (id, name, slug) VALUES (:id, :name, :name)"), {"id": tenant_id, "name": name}
            )
            await session.execute(
                text("INSERT INTO users (id, tenant_id, email, name) VALUES (:id, :tenant, :email, 'x')"),
                {"id": uuid7(), "tenant": tenant_id, "email": f"{name}@example.com"},
            )
    return ids
