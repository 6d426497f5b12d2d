"""The first start makes a tenant, an administrator and a key, once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.domains.control_plane import MASTER, ControlPlane, MovableClock, Services
from tollkeeper.core.config import Settings
from tollkeeper.core.ids import uuid7
from tollkeeper.core.passwords import Passwords
from tollkeeper.core.secrets import KeyHasher, new_key
from tollkeeper.db.models import ApiKey, Tenant, User
from tollkeeper.db.session import Database
from tollkeeper.domains.identity.first_run import CannotStart, FirstRun, ensure_first_run

FINGERPRINT = "0123456789abcdef"


@pytest.fixture
async def database(new_database: Callable[[], str]) -> AsyncIterator[Database]:
    database = Database(new_database(), lookup_seconds=2.0)
    yield database
    await database.close()


async def start(database: Database, fingerprint: str = FINGERPRINT, **settings: Any) -> FirstRun | None:
    return await ensure_first_run(
        database,
        Settings(_env_file=None, **settings),
        hasher=KeyHasher(MASTER),
        passwords=Passwords(),
        master_key_fingerprint=fingerprint,
        clock=MovableClock(),
    )


async def count(database: Database, model: type) -> int:
    async with database.platform() as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


def plane_of(database: Database) -> ControlPlane:
    services = Services(database, Settings(_env_file=None), MovableClock(), KeyHasher(MASTER), Passwords())
    return ControlPlane(services, uuid7(), uuid7())


async def test_what_was_made_works(database: Database) -> None:
    made = await start(database)
    assert made is not None
    assert made.is_new
    assert made.admin_email == "admin@localhost"
    assert made.api_key not in repr(made)
    assert made.admin_password not in repr(made)
    plane = plane_of(database)
    async with plane.client(authorization=f"Bearer {made.api_key}") as client:
        shown = (await client.get("/api/v1/me")).json()
        assert (shown["role"], shown["tenant"]["name"]) == ("platform_admin", "default")
        assert {"gateway:use", "platform:all_tenants"} <= set(shown["permissions"])
        assert (await client.get("/api/v1/audit/verify")).json()["is_intact"]
    async with plane.client() as client:
        body = {"email": made.admin_email, "password": made.admin_password}
        assert (await client.post("/api/v1/auth/login", json=body)).status_code == 200
    assert await start(database) is None


async def test_workers_that_start_together_make_one_of_each(database: Database) -> None:
    made = [run for run in await asyncio.gather(*(start(database) for _ in range(5))) if run is not None]
    assert len(made) == 1
    assert (await count(database, Tenant), await count(database, ApiKey)) == (1, 1)
    assert await count(database, User) == 2  # the administrator, and the owner of keys of no person


@pytest.mark.parametrize("key", ["tk-" + "a" * 29, "tk-init-0123456789_ABCDEFGHIJ.~xyz-000", new_key().token])
async def test_given_values_are_used(database: Database, key: str) -> None:
    given = {"init_api_key": key, "init_admin_email": "Ops@Corp.internal", "init_admin_password": "a long password"}
    made = await start(database, **given)
    assert made == FirstRun(key, "ops@corp.internal", "a long password", is_new=True)
    plane = plane_of(database)
    async with plane.client(**{"x-api-key": key}) as client:
        assert (await client.get("/api/v1/me")).json()["email"] == "ops@corp.internal"
    assert await start(database, **given) is None


async def test_a_later_start_adds_what_is_absent(database: Database) -> None:
    await start(database)
    key = "tk-later-" + "b" * 40
    added = await start(database, init_api_key=key)
    assert added is not None
    assert (added.api_key, added.admin_email, added.admin_password, added.is_new) == (key, "admin@localhost", "", False)
    assert await start(database, init_api_key=key) is None
    admin = await start(database, init_api_key=key, init_admin_email="second@localhost")
    assert admin is not None
    assert (admin.admin_email, admin.is_new) == ("second@localhost", False)
    assert admin.admin_password
    assert await count(database, ApiKey) == 2


async def test_a_revoked_first_key_is_not_made_again(database: Database) -> None:
    key = "tk-first-" + "c" * 40
    made = await start(database, init_api_key=key)
    assert made is not None
    plane = plane_of(database)
    async with plane.client(authorization=f"Bearer {key}") as client:
        key_id = (await client.get("/api/v1/me")).json()["key_id"]
        assert (await client.post(f"/api/v1/keys/{key_id}/revoke")).status_code == 200
    assert await start(database, init_api_key=key) is None
    async with plane.client(authorization=f"Bearer {key}") as client:
        assert (await client.get("/api/v1/me")).status_code == 401
    # What was noted of the refusal is written beside the answer.
    await plane.services.security_events.settled()


async def test_another_master_key_refuses_to_start(database: Database) -> None:
    await start(database)
    with pytest.raises(CannotStart, match="TOLLKEEPER_MASTER_KEY"):
        await start(database, "another")
    assert await start(database) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"init_api_key": "tk-short"},
        {"init_api_key": "sk-" + "a" * 40},
        {"init_api_key": "tk-" + "a" * 40 + " b"},
        {"init_api_key": "tk-" + "a" * 600},
        {"init_admin_email": "nobody"},
        {"init_admin_password": "short"},
    ],
)
async def test_an_unfit_setting_is_named_and_nothing_is_made(database: Database, settings: dict[str, str]) -> None:
    with pytest.raises(CannotStart, match=next(iter(settings)).upper()) as refused:
        await start(database, **settings)
    assert next(iter(settings.values())) not in str(refused.value)
    assert await count(database, Tenant) == 0
