"""Fine-tuning jobs in PostgreSQL: what a key finds, and what it can never change."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.gateway.serving import principal
from tollkeeper.contracts.fine_tuning import FineTuningJob
from tollkeeper.contracts.principal import Environment, Principal
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models import Tenant
from tollkeeper.db.session import Database
from tollkeeper.domains.fine_tuning.service import StoredFineTuningJobs


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


def job(name: str = "ftjob-1", **fields: Any) -> FineTuningJob:
    values = {"provider": "openai", "credential_id": uuid7(), "vendor_id": name, "model": "m", "document": {"id": name}}
    return FineTuningJob(**{**values, **fields})


async def new_principal(database: Database) -> Principal:
    async with database.platform() as session:
        tenant_id = uuid7()
        tenant = Tenant(id=tenant_id, name=tenant_id.hex, slug=tenant_id.hex)
        session.add(tenant)
        return principal(tenant_id=tenant.id)


async def test_job_is_found_by_its_tenant_project_and_environment_alone(database: Database) -> None:
    store = StoredFineTuningJobs(database)
    ours, theirs = await new_principal(database), await new_principal(database)
    kept = job()
    await store.keep(ours, kept)
    assert await store.find(ours, "ftjob-1") == kept
    strangers = [theirs, replace(ours, project_id=uuid7()), replace(ours, environment=Environment.TEST)]
    for stranger in strangers:
        assert await store.find(stranger, "ftjob-1") is None
        assert await store.list_page(stranger, None, 10) == []
        assert await store.list_page(stranger, "ftjob-1", 10) is None
    # A vendor that gives the same id again, or a caller of another project, changes nothing of it.
    await store.keep(strangers[1], job(document={"id": "changed"}))
    await store.keep(theirs, job(document={"id": "theirs"}))
    assert await store.find(ours, "ftjob-1") == kept
    found = await store.find(theirs, "ftjob-1")
    assert found is not None
    assert found.document == {"id": "theirs"}
    await store.close()


async def test_what_is_said_of_a_job_later_takes_the_place_of_what_was_said(database: Database) -> None:
    store = StoredFineTuningJobs(database)
    ours = await new_principal(database)
    kept = job()
    await store.keep(ours, kept)
    changed = replace(kept, document={"id": "ftjob-1", "status": "cancelled"})
    await store.keep(ours, changed)
    assert await store.find(ours, "ftjob-1") == changed
    await store.close()


async def test_pages_go_from_the_newest_to_the_oldest(database: Database) -> None:
    store = StoredFineTuningJobs(database)
    ours = await new_principal(database)
    for number in range(5):
        await store.keep(ours, job(f"ftjob-{number}"))
    first = await store.list_page(ours, None, 2)
    assert first is not None
    assert [one.vendor_id for one in first] == ["ftjob-4", "ftjob-3"]
    rest = await store.list_page(ours, "ftjob-3", 10)
    assert rest is not None
    assert [one.vendor_id for one in rest] == ["ftjob-2", "ftjob-1", "ftjob-0"]
    await store.close()
