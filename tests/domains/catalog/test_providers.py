"""Providers in the database: what is stored, what is shown, and that no secret comes out or moves."""

import asyncio
from uuid import UUID, uuid4

import pytest
import structlog
from sqlalchemy import select, text

from tests.domains.catalog.conftest import NOTHING, World, build_world, new_box
from tests.domains.catalog.kinds import KINDS
from tollkeeper.contracts.catalog import DeclaredCatalog, ProviderConfig
from tollkeeper.core.errors import BadRequest, Conflict, NotFound, PreconditionFailed
from tollkeeper.db.models.catalog import Provider, ProviderCredential
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog.declared import ManagedElsewhere
from tollkeeper.domains.catalog.environment import environment_catalog
from tollkeeper.domains.catalog.loader import Declared
from tollkeeper.domains.catalog.prices import load_price_list, stable_id
from tollkeeper.domains.catalog.providers import CredentialBound, ProviderInUse, UnknownKind
from tollkeeper.domains.catalog.schemas import (
    CredentialCreate,
    ModelCreate,
    ProviderCreate,
    ProviderOut,
    ProviderUpdate,
)
from tollkeeper.domains.catalog.service import NameTaken

CANARY = "sk-canary-9f31"


async def create(world: World, **fields: object) -> ProviderOut:
    body = {"name": "acme", "kind": "openai", "api_key": CANARY, **fields}
    async with world.database.platform() as session:
        return await world.catalog.providers.create(session, world.admin, ProviderCreate.model_validate(body))


async def update(
    world: World, provider_id: UUID, expected: frozenset[int] | None = None, **fields: object
) -> ProviderOut:
    async with world.database.platform() as session:
        return await world.catalog.providers.update(
            session, world.admin, provider_id, ProviderUpdate.model_validate(fields), expected
        )


async def test_created_provider_is_served_with_everything_it_was_given(world: World) -> None:
    shown = await create(
        world,
        base_url="https://acme.example/v1/",
        headers={"X-Team": "blue"},
        proxy="http://u:pw@proxy.example:3128",
        timeouts={"connect": 1.5},
        options={"a": [1]},
    )
    assert (shown.name, shown.base_url, shown.has_credential, shown.version) == (
        "acme",
        "https://acme.example/v1",
        True,
        1,
    )
    config = (await world.snapshot()).providers["acme"]
    assert config.credentials[0].secret == CANARY
    assert config.credentials[0].origins == {"https://acme.example:443"}
    assert config.headers == {"X-Team": "blue"}
    assert config.proxy_url == "http://u:pw@proxy.example:3128"
    assert (config.connect_seconds, config.idle_seconds, config.options) == (1.5, None, {"a": [1]})


async def test_no_secret_leaves_through_answers_audit_or_database(world: World) -> None:
    shown = await create(world, headers={"X-Token": CANARY}, proxy=f"http://u:{CANARY}@proxy.example:1")
    async with world.database.platform() as session:
        changed = await world.catalog.providers.add_credential(
            session, world.admin, shown.id, CredentialCreate.model_validate({"name": "second", "secret": CANARY})
        )
        rows = (await session.execute(text("SELECT p::text || c::text FROM providers p, provider_credentials c"))).all()
    assert len(changed.credentials or ()) == 2
    outside = (
        shown.model_dump_json()
        + changed.model_dump_json()
        + repr([(one.before, one.after) for one in await world.audited()])
        + repr(rows)
    )
    assert CANARY not in outside
    assert CANARY.encode().hex() not in outside
    assert CANARY in {one.secret for one in (await world.snapshot()).providers["acme"].credentials}


async def test_update_keeps_the_secrets_it_does_not_name(world: World) -> None:
    shown = await create(world, headers={"X-Token": "t"}, proxy="http://proxy.example:1")
    changed = await update(world, shown.id, timeouts={"idle": 9}, is_active=True)
    assert changed.version == 2
    config = (await world.snapshot()).providers["acme"]
    assert (config.headers, config.proxy_url, config.idle_seconds) == ({"X-Token": "t"}, "http://proxy.example:1", 9)
    await update(world, shown.id, headers={}, proxy=None)
    config = (await world.snapshot()).providers["acme"]
    assert (config.headers, config.proxy_url) == ({}, None)


async def test_key_stays_with_its_origin(world: World) -> None:
    shown = await create(world, base_url="https://one.example/v1")
    with pytest.raises(CredentialBound):
        await update(world, shown.id, base_url="https://two.example/v1")
    moved_path = await update(world, shown.id, base_url="https://one.example/v2")
    assert moved_path.credentials is not None
    assert moved_path.credentials[0].origins == ["https://one.example:443"]
    moved = await update(world, shown.id, base_url="https://two.example/v1", api_key="sk-new")
    assert [one.origins for one in moved.credentials or ()] == [["https://two.example:443"]]
    (credential,) = (await world.snapshot()).providers["acme"].credentials
    assert credential.secret == "sk-new"


async def test_sealed_secret_moved_to_another_row_opens_no_more_and_the_last_good_stays(world: World) -> None:
    await create(world)
    await create(world, name="other", api_key="sk-other")
    await world.snapshot()
    async with world.database.platform() as session:
        first, second = (await session.scalars(select(ProviderCredential).order_by(ProviderCredential.id))).all()
        second.envelope = first.envelope
        await session.flush()
    with structlog.testing.capture_logs() as logs:
        snapshot = await world.snapshot()
        await world.snapshot()
    assert snapshot.providers["other"].credentials[0].secret == "sk-other"
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["catalog_row_unusable"]
    assert CANARY not in repr(logs)
    fresh = await build_world(world.database)
    assert "other" not in (await fresh.snapshot()).providers
    assert "acme" in (await fresh.snapshot()).providers


async def test_row_that_no_longer_fits_never_evicts_the_last_good_one(world: World) -> None:
    shown = await create(world)
    await world.snapshot()
    async with world.database.platform() as session:
        await session.execute(text("UPDATE providers SET timeouts = '{\"idle\": \"soon\"}', base_url = 'nonsense'"))
    assert (await world.snapshot()).providers["acme"].base_url == "https://api.openai.com/v1"
    async with world.database.platform() as session:
        await session.execute(text("DELETE FROM providers"))
    assert "acme" not in (await world.snapshot()).providers
    assert shown.has_credential


async def test_another_master_key_makes_rows_unusable_but_not_the_gateway(world: World) -> None:
    await create(world)
    other = await build_world(world.database, NOTHING, new_box("another"))
    snapshot = await other.snapshot()
    assert "acme" not in snapshot.providers
    assert "simulated" in snapshot.providers


async def test_update_of_an_old_version_is_refused(world: World) -> None:
    shown = await create(world)
    await update(world, shown.id, frozenset({1}), is_active=False)
    with pytest.raises(PreconditionFailed):
        await update(world, shown.id, frozenset({1}), is_active=True)
    assert "acme" not in (await world.snapshot()).providers


async def test_same_name_whatever_its_case_is_taken_even_at_once(world: World) -> None:
    results = await asyncio.gather(
        create(world, name="acme"), create(world, name="ACME"), create(world, name="Acme"), return_exceptions=True
    )
    assert sum(isinstance(one, ProviderOut) for one in results) == 1
    assert sum(isinstance(one, NameTaken) for one in results) == 2


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"kind": "nope"}, UnknownKind, "kind"),
        ({"kind": "openai_compatible"}, BadRequest, "base_url"),
        ({"kind": "openai_compatible", "base_url": "http://127.0.0.1:1"}, BadRequest, "base_url"),
        ({"name": "simulated"}, ManagedElsewhere, None),
    ],
)
async def test_provider_that_cannot_work_is_refused(
    world: World, fields: dict[str, object], error: type[Exception], param: str | None
) -> None:
    with pytest.raises(error) as caught:
        await create(world, **fields)
    assert isinstance(caught.value, BadRequest | Conflict)
    assert caught.value.param == param


async def test_provider_in_use_is_not_deleted(world: World) -> None:
    shown = await create(world)
    async with world.database.platform() as session:
        body = ModelCreate.model_validate({"name": "m", "targets": [{"provider": "acme", "model": "x"}]})
        await world.catalog.models.create(session, world.admin, body)
    with pytest.raises(ProviderInUse, match="m"):
        async with world.database.platform() as session:
            await world.catalog.providers.delete(session, world.admin, shown.id, None)
    async with world.database.platform() as session:
        await session.execute(text("DELETE FROM models"))
    async with world.database.platform() as session:
        await world.catalog.providers.delete(session, world.admin, shown.id, frozenset({1}))
        assert await session.scalar(select(ProviderCredential)) is None
        with pytest.raises(NotFound):
            await world.catalog.providers.get(session, world.admin, shown.id)


async def test_declared_providers_are_listed_and_read_only_naming_their_place(database: Database) -> None:
    config = ProviderConfig(stable_id("provider", "filed"), "filed", "openai", "https://api.openai.com/v1")
    declared = Declared(
        file=DeclaredCatalog((config,), provider_places={"filed": "tollkeeper.yaml:12"}),
        environment=environment_catalog({"GROQ_API_KEY": CANARY}, KINDS, load_price_list()),
    )
    world = await build_world(database, declared)
    await create(world, name="stored")
    async with database.platform() as session:
        listed = await world.catalog.providers.list_page(session, world.admin, "", 10)
        assert [(one.name, one.managed_by.value, one.declared_at) for one in listed] == [
            ("filed", "file", "tollkeeper.yaml:12"),
            ("groq", "environment", "the variable GROQ_API_KEY"),
            ("simulated", "builtin", None),
            ("stored", "api", None),
        ]
        assert CANARY not in repr(listed)
        assert [one.name for one in await world.catalog.providers.list_page(session, world.admin, "filed", 2)] == [
            "groq",
            "simulated",
        ]
        with pytest.raises(ManagedElsewhere, match=r"tollkeeper\.yaml:12"):
            await world.catalog.providers.delete(session, world.admin, config.id, None)
        with pytest.raises(ManagedElsewhere, match=r"tollkeeper\.yaml:12"):
            await world.catalog.providers.update(
                session, world.admin, config.id, ProviderUpdate.model_validate({"is_active": False}), None
            )
    with pytest.raises(ManagedElsewhere):
        await create(world, name="FILED")
    await create(world, name="groq", kind="groq", api_key="sk-db")
    assert (await world.snapshot()).providers["groq"].credentials[0].secret == "sk-db"


async def test_who_may_not_change_the_catalog_sees_that_providers_are_but_not_where(world: World) -> None:
    await create(world, headers={"X-Team": "blue"})
    async with world.database.tenant(world.developer.tenant_id) as session:
        listed = await world.catalog.providers.list_page(session, world.developer, "", 10)
    assert [one.name for one in listed] == ["acme", "simulated"]
    for one in listed:
        assert (one.base_url, one.header_names, one.credentials, one.options, one.has_credential) == (None,) * 5


async def test_credential_can_be_removed_alone(world: World) -> None:
    shown = await create(world)
    assert shown.credentials is not None
    async with world.database.platform() as session:
        with pytest.raises(NotFound):
            await world.catalog.providers.delete_credential(session, world.admin, shown.id, uuid4())
        await world.catalog.providers.delete_credential(session, world.admin, shown.id, shown.credentials[0].id)
    assert (await world.snapshot()).providers["acme"].credentials == ()
    assert [one.action for one in await world.audited()] == ["catalog.providers.create", "catalog.providers.update"]


async def create_and_fail(world: World) -> None:
    async with world.database.platform() as session:
        body = ProviderCreate.model_validate({"name": "gone", "kind": "openai"})
        await world.catalog.providers.create(session, world.admin, body)
        raise RuntimeError


async def test_failed_change_leaves_nothing_behind(world: World) -> None:
    with pytest.raises(RuntimeError):
        await create_and_fail(world)
    async with world.database.platform() as session:
        assert await session.scalar(select(Provider)) is None
