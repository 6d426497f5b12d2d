"""Margins and discounts: who may set and see them, when they hold, and which of several holds."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from tests.callers import someone
from tests.domains.catalog.conftest import World, build_world
from tests.domains.catalog.kinds import KINDS
from tests.domains.catalog.waiting import running, until
from tollkeeper.configuration import ConfigError, load_configuration
from tollkeeper.contracts.catalog import DeclaredCatalog, Snapshot
from tollkeeper.core.errors import BadRequest, Conflict, NotFound, PreconditionFailed
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog.loader import Declared
from tollkeeper.domains.catalog.schemas import (
    ManagedBy,
    PriceAdjustmentCreate,
    PriceAdjustmentOut,
    PriceAdjustmentUpdate,
)
from tollkeeper.gateway.money.price import adjustment_of


async def adjust(world: World, **fields: object) -> PriceAdjustmentOut:
    body = PriceAdjustmentCreate.model_validate(fields)
    async with world.database.platform() as session:
        return await world.catalog.price_adjustments.create(session, world.admin, body)


def factor(world: World, snapshot: Snapshot, provider: str, model: str) -> int | None:
    found = adjustment_of(snapshot, world.tenant_id, provider, model)
    return None if found is None else found.factor_millionths


async def test_the_most_specific_adjustment_holds_alone(world: World) -> None:
    await adjust(world, factor="1.1")
    await adjust(world, factor="1.2", provider="openai")
    await adjust(world, factor="1.3", model="gpt-*")
    await adjust(world, factor="1.4", model="gpt-4o*")
    await adjust(world, factor="1.5", model="gpt-4o")
    await adjust(world, factor="1.6", model="gpt-4o", provider="azure")
    snapshot = await world.snapshot()
    assert factor(world, snapshot, "mistral", "small") == 1_100_000
    assert factor(world, snapshot, "openai", "o3") == 1_200_000
    assert factor(world, snapshot, "openai", "gpt-3") == 1_300_000
    assert factor(world, snapshot, "openai", "gpt-4o-mini") == 1_400_000
    assert factor(world, snapshot, "openai", "gpt-4o") == 1_500_000
    assert factor(world, snapshot, "azure", "gpt-4o") == 1_600_000
    assert adjustment_of(snapshot, world.other_tenant_id, "openai", "gpt-4o") is None


async def test_of_two_that_cover_the_same_the_later_one_holds(world: World) -> None:
    await adjust(world, factor="1.1")
    await adjust(world, factor="1.2")
    assert factor(world, await world.snapshot(), "openai", "m") == 1_200_000


async def test_an_adjustment_holds_from_its_beginning_to_its_end(world: World) -> None:
    now = datetime.now(UTC)
    await adjust(world, factor="2", effective_at=now + timedelta(hours=1), ends_at=now + timedelta(hours=2))
    assert factor(world, await world.snapshot(), "openai", "m") is None
    change = world.catalog.loader.sources.stored.next_change_unix
    assert change == pytest.approx((now + timedelta(hours=1)).timestamp())
    async with world.database.platform() as session:
        await session.execute(text("UPDATE price_adjustments SET effective_at = effective_at - interval '1.5 hours'"))
    assert factor(world, await world.snapshot(), "openai", "m") == 2_000_000
    change = world.catalog.loader.sources.stored.next_change_unix
    assert change == pytest.approx((now + timedelta(hours=2)).timestamp())
    async with world.database.platform() as session:
        await session.execute(text("UPDATE price_adjustments SET ends_at = now()"))
    assert factor(world, await world.snapshot(), "openai", "m") is None


async def test_one_that_begins_soon_is_in_force_when_it_begins(world: World) -> None:
    await adjust(world, factor="2", effective_at=datetime.now(UTC) + timedelta(seconds=0.3))
    await world.snapshot()
    async with running(world.catalog.loader):
        await until(lambda: factor(world, world.catalog.holder.current(), "openai", "m") == 2_000_000)


async def test_it_is_changed_and_removed_and_each_change_is_recorded(world: World) -> None:
    made = await adjust(world, tenant_id=format_id("ten", world.other_tenant_id), factor="1.2", note="contract 7")
    adjustments = world.catalog.price_adjustments
    async with world.database.platform() as session:
        body = PriceAdjustmentUpdate.model_validate({"factor": "0.85", "per_request_usd": "0.000000001"})
        changed = await adjustments.update(session, world.admin, made.id, body, frozenset({1}))
    assert (str(changed.factor), changed.version) == ("0.850000", 2)
    found = adjustment_of(await world.snapshot(), world.other_tenant_id, "p", "m")
    assert found is not None
    assert (found.factor_millionths, found.request_nano) == (850_000, 1)
    async with world.database.platform() as session:
        with pytest.raises(PreconditionFailed):
            await adjustments.delete(session, world.admin, made.id, frozenset({1}))
        await adjustments.delete(session, world.admin, made.id, frozenset({2}))
    assert not (await world.snapshot()).adjustments
    audited = await world.audited()
    assert [row.action for row in audited] == [
        "catalog.price_adjustments.create",
        "catalog.price_adjustments.update",
        "catalog.price_adjustments.delete",
    ]
    assert [(row.before or {}).get("factor") for row in audited] == [None, "1.2", "0.85"]
    assert [(row.after or {}).get("factor") for row in audited] == ["1.2", "0.85", None]


async def test_a_tenant_sees_its_own_and_no_other(world: World) -> None:
    own = await adjust(world, factor="1.2")
    other = await adjust(world, tenant_id=format_id("ten", world.other_tenant_id), factor="3")
    admin = someone(world.tenant_id, Role.TENANT_ADMIN)
    adjustments = world.catalog.price_adjustments
    async with world.database.tenant(world.tenant_id) as session:
        seen = await adjustments.list_page(session, admin, tenant_id=None, after=None, limit=10)
        assert [one.id for one in seen] == [own.id]
        with pytest.raises(NotFound):
            await adjustments.get(session, admin, other.id)


async def test_a_tenant_cannot_give_itself_a_discount(world: World) -> None:
    made = await adjust(world, factor="1.2")
    for statement in (
        "UPDATE price_adjustments SET factor = 0",
        "DELETE FROM price_adjustments",
        f"INSERT INTO price_adjustments (id, tenant_id, factor, effective_at) VALUES ('{uuid7()}', '{made.tenant_id}', 0, now())",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with world.database.tenant(world.tenant_id) as session:
                await session.execute(text(statement))


@pytest.mark.parametrize(
    "fields",
    [
        {"factor": "1"},
        {"factor": "1000.1"},
        {"factor": "-0.1"},
        {"factor": "1.0000001"},
        {"factor": 1.2},
        {"factor": "NaN"},
        {"factor": "1.2", "per_request_usd": "0.0000000001"},
        {"factor": "1.2", "model": "with space"},
    ],
)
def test_what_cannot_be_exact_or_says_nothing_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        PriceAdjustmentCreate.model_validate(fields)


async def test_it_begins_neither_in_the_past_nor_after_its_end(world: World) -> None:
    now = datetime.now(UTC)
    with pytest.raises(BadRequest, match="in the past"):
        await adjust(world, factor="2", effective_at=now - timedelta(hours=1))
    with pytest.raises(BadRequest, match="not after"):
        await adjust(world, factor="2", ends_at=now)


async def test_the_file_declares_them_too_and_wins(database: Database, tmp_path: Path) -> None:
    plain = await build_world(database)
    tenant = format_id("ten", plain.tenant_id)
    path = tmp_path / "tollkeeper.yaml"
    path.write_text(
        f'price_adjustments:\n  - tenant_id: {tenant}\n    model: gpt-*\n    factor: "1.25"\n', encoding="utf-8"
    )
    configuration = load_configuration(path, {}, kinds=KINDS)
    world = await build_world(database, Declared(configuration.catalog, DeclaredCatalog()))
    world.tenant_id, world.admin = plain.tenant_id, plain.admin
    await adjust(world, model="gpt-*", factor="7")
    assert factor(world, await world.snapshot(), "openai", "gpt-4o") == 1_250_000
    adjustments = world.catalog.price_adjustments
    async with database.platform() as session:
        shown = await adjustments.list_page(session, world.admin, tenant_id=None, after=None, limit=10)
        declared = next(one for one in shown if one.managed_by is ManagedBy.FILE)
        assert (declared.declared_at, str(declared.factor)) == (f"{path.name}:2", "1.25")
        assert await adjustments.get(session, world.admin, declared.id) == declared
        with pytest.raises(Conflict, match="is declared in"):
            await adjustments.delete(session, world.admin, declared.id, None)


def test_the_file_names_calls_once(tmp_path: Path) -> None:
    tenant = format_id("ten", uuid7())
    path = tmp_path / "tollkeeper.yaml"
    row = f'  - {{tenant_id: {tenant}, factor: "1.25"}}\n'
    path.write_text(f"price_adjustments:\n{row}{row}", encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_configuration(path, {}, kinds=KINDS)
    assert "covers the same calls" in str(refused.value.problems[0])
