"""Models and prices in the database: who sees them, what they cost, and that history is never rewritten."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from pydantic import ValidationError

from tests.domains.catalog.conftest import World, build_world
from tests.domains.catalog.kinds import KINDS
from tests.domains.catalog.waiting import running, until
from tollkeeper.contracts.catalog import DeclaredCatalog, ModelRoute
from tollkeeper.contracts.parameters import NO_PARAMETERS
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest, NotFound, PreconditionFailed
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog.declared import ManagedElsewhere
from tollkeeper.domains.catalog.environment import environment_catalog
from tollkeeper.domains.catalog.fields import PriceFields
from tollkeeper.domains.catalog.loader import Declared
from tollkeeper.domains.catalog.models import UnknownProvider
from tollkeeper.domains.catalog.price_history import PriceInThePast
from tollkeeper.domains.catalog.prices import FREE, load_price_list, read_price, stable_id
from tollkeeper.domains.catalog.schemas import (
    ModelCreate,
    ModelOut,
    ModelUpdate,
    PriceCreate,
    PriceOut,
    ProviderCreate,
)
from tollkeeper.domains.catalog.service import NameTaken

START = ("", UUID(int=0))
PRICE = {"input_per_million": "1.5", "output_per_million": "6"}


async def create(world: World, **fields: object) -> ModelOut:
    body = {"name": "m", "targets": [{"provider": "simulated", "model": "simulated"}], **fields}
    async with world.database.platform() as session:
        return await world.catalog.models.create(session, world.admin, ModelCreate.model_validate(body))


async def price(world: World, **fields: object) -> PriceOut:
    async with world.database.platform() as session:
        return await world.catalog.prices.create(session, world.admin, PriceCreate.model_validate({**PRICE, **fields}))


def version_of(world: World, name: str) -> UUID | None:
    route = world.catalog.holder.current().models[None, name]
    return route.price.version if route.price is not None else None


async def test_created_model_is_served_with_its_price(world: World) -> None:
    shown = await create(world, price=PRICE, unpriced="block", owned_by="us")
    assert shown.price is not None
    assert str(shown.price.output_per_million) == "6"
    route = (await world.snapshot()).find_model(world.tenant_id, "m")
    assert route is not None
    assert route.price is not None
    assert (route.id, route.price.input, route.price.output) == (shown.id, 1_500_000, 6_000_000)
    assert (route.blocks_unpriced, route.owned_by, route.is_simulated) == (True, "us", True)
    assert route.created_unix > 1_700_000_000
    assert [one.action for one in await world.audited()] == ["catalog.prices.create", "catalog.models.create"]


async def test_model_of_a_tenant_is_seen_by_nobody_else(world: World) -> None:
    await create(world, name="shared")
    own = await create(world, name="own", tenant_id=f"ten_{world.other_tenant_id.hex}")
    snapshot = await world.snapshot()
    assert snapshot.find_model(world.other_tenant_id, "own") is not None
    assert snapshot.find_model(world.tenant_id, "own") is None
    async with world.database.tenant(world.tenant_id) as session:
        names = [one.name for one in await world.catalog.models.list_page(session, world.developer, START, 50)]
        assert "shared" in names
        assert "own" not in names
        with pytest.raises(NotFound):
            await world.catalog.models.get(session, world.developer, own.id)
    # The same without row-level security: each of the two guards covers for the other.
    async with world.database.platform() as session:
        names = [one.name for one in await world.catalog.models.list_page(session, world.developer, START, 50)]
        assert "own" not in names
        with pytest.raises(NotFound):
            await world.catalog.models.get(session, world.developer, own.id)
    async with world.database.platform() as session:
        listed = await world.catalog.models.list_page(session, world.admin, START, 50)
        assert [one.name for one in listed] == [
            "own",
            "shared",
            "simulated",
            "simulated-*",
            "simulated-embedding",
            "simulated-reasoning",
        ]


async def test_pages_join_without_gap_or_repetition(world: World) -> None:
    for name in ("a", "Z", "simulated-2", "s", "simulated-z", "z"):
        await create(world, name=name)
    await world.snapshot()
    seen: list[str] = []
    position = START
    async with world.database.platform() as session:
        while page := await world.catalog.models.list_page(session, world.admin, position, 2):
            seen += [one.name for one in page]
            position = (page[-1].name, page[-1].id)
    assert seen == sorted({*seen})
    assert len(seen) == 10


async def test_update_changes_what_it_names_and_refuses_an_old_version(world: World) -> None:
    shown = await create(world, unpriced="block")
    async with world.database.platform() as session:
        body = ModelUpdate.model_validate({"targets": [{"provider": "simulated", "model": "simulated-embedding"}]})
        changed = await world.catalog.models.update(session, world.admin, shown.id, body, frozenset({1}))
    assert (changed.version, changed.unpriced, changed.targets[0].model) == (2, "block", "simulated-embedding")
    async with world.database.platform() as session:
        with pytest.raises(PreconditionFailed):
            await world.catalog.models.update(session, world.admin, shown.id, body, frozenset({1}))
        await world.catalog.models.delete(session, world.admin, shown.id, frozenset({2}))
    assert (await world.snapshot()).find_model(world.tenant_id, "m") is None


async def test_model_that_leads_nowhere_or_has_a_taken_name_is_refused(world: World) -> None:
    with pytest.raises(UnknownProvider, match="nowhere"):
        await create(world, targets=[{"provider": "nowhere", "model": "x"}])
    with pytest.raises(NotFound, match="tenant"):
        await create(world, tenant_id=f"ten_{1:032x}")
    await create(world)
    with pytest.raises(NameTaken):
        await create(world)
    with pytest.raises(ManagedElsewhere, match="built in"):
        await create(world, name="simulated")
    assert (await create(world, tenant_id=f"ten_{world.tenant_id.hex}")).tenant_id == world.tenant_id


async def test_declared_models_are_read_only_and_name_their_file(database: Database) -> None:
    route = ModelRoute(stable_id("model", "filed"), "filed", (Target("simulated", "simulated"),), price=FREE)
    declared = Declared(
        file=DeclaredCatalog(models=(route,), model_places={"filed": "tollkeeper.yaml:9"}),
        environment=environment_catalog({"OPENAI_API_KEY": "k"}, KINDS, load_price_list()),
    )
    world = await build_world(database, declared)
    async with database.platform() as session:
        shown = await world.catalog.models.get(session, world.admin, route.id)
        assert (shown.managed_by.value, shown.declared_at) == ("file", "tollkeeper.yaml:9")
        with pytest.raises(ManagedElsewhere, match=r"tollkeeper\.yaml:9"):
            await world.catalog.models.delete(session, world.admin, route.id, None)
    with pytest.raises(ManagedElsewhere, match=r"tollkeeper\.yaml:9"):
        await create(world, name="filed")
    with pytest.raises(ManagedElsewhere, match=r"tollkeeper\.yaml:9"):
        await price(world, model="filed")
    own = await create(world, name="gpt-4o-mini")
    assert (await world.snapshot()).models[None, "gpt-4o-mini"].id == own.id
    async with database.platform() as session:
        listed = await world.catalog.models.list_page(session, world.admin, ("gpt-4o-m", UUID(int=0)), 1)
    assert [(one.name, one.managed_by.value) for one in listed] == [("gpt-4o-mini", "api")]


async def test_new_price_takes_over_and_the_old_one_stays_in_the_history(world: World) -> None:
    await create(world)
    first = await price(world, model="m")
    second = await price(world, model="m", output_per_million="7")
    route = (await world.snapshot()).models[None, "m"]
    assert route.price is not None
    assert (route.price.version, route.price.output) == (second.id, 7_000_000)
    async with world.database.platform() as session:
        history = await world.catalog.prices.list_page(session, world.admin, model="m", before=None, limit=10)
        assert [(one.id, one.is_in_force) for one in history] == [(second.id, True), (first.id, False)]
        later = (history[0].effective_at, history[0].id)
        rest = await world.catalog.prices.list_page(session, world.admin, model="m", before=later, limit=10)
        assert [one.id for one in rest] == [first.id]


async def test_price_of_tomorrow_is_not_charged_today_and_wakes_the_loader(world: World) -> None:
    await create(world, price=PRICE)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    await price(world, model="m", output_per_million="9", effective_at=tomorrow)
    route = (await world.snapshot()).models[None, "m"]
    assert route.price is not None
    assert route.price.output == 6_000_000
    change = world.catalog.loader.sources.stored.next_change_unix
    assert change is not None
    assert abs(change - tomorrow.timestamp()) < 1


async def test_price_is_charged_from_its_moment_on_without_being_told(world: World) -> None:
    await create(world, price=PRICE)
    begins = datetime.now(UTC) + timedelta(seconds=0.3)
    later = await price(world, model="m", output_per_million="9", effective_at=begins)
    await world.catalog.loader.load()
    async with running(world.catalog.loader):
        await until(lambda: version_of(world, "m") == later.id)
    assert datetime.now(UTC) >= begins


async def test_price_cannot_begin_in_the_past(world: World) -> None:
    with pytest.raises(PriceInThePast):
        await price(world, model="m", effective_at=datetime.now(UTC) - timedelta(hours=1))


async def test_price_agreed_with_one_tenant_is_seen_and_charged_there_alone(world: World) -> None:
    await create(world, price=PRICE)
    agreed = await price(world, model="m", output_per_million="2", tenant_id=f"ten_{world.other_tenant_id.hex}")
    snapshot = await world.snapshot()
    outputs = []
    for tenant_id in (world.other_tenant_id, world.tenant_id):
        route = snapshot.find_model(tenant_id, "m")
        assert route is not None
        assert route.price is not None
        outputs.append(route.price.output)
    assert outputs == [2_000_000, 6_000_000]
    async with world.database.tenant(world.tenant_id) as session:
        seen = await world.catalog.prices.list_page(session, world.developer, model="m", before=None, limit=10)
        assert agreed.id not in {one.id for one in seen}
        with pytest.raises(NotFound):
            await world.catalog.prices.get(session, world.developer, agreed.id)


async def test_price_of_a_providers_model_reaches_every_name_that_leads_there(world: World) -> None:
    async with world.database.platform() as session:
        body = ProviderCreate.model_validate({"name": "acme", "kind": "openai", "api_key": "k"})
        await world.catalog.providers.create(session, world.admin, body)
    await create(world, name="alias", targets=[{"provider": "acme", "model": "house-model"}])
    assert (await world.snapshot()).models[None, "alias"].price is None
    await price(world, provider="acme", model="house-model")
    route = (await world.snapshot()).models[None, "alias"]
    assert route.price is not None
    assert route.price.output == 6_000_000


async def test_declared_prices_enter_the_history_once_whoever_loads_them(database: Database) -> None:
    price_declared = read_price(PriceFields.model_validate(PRICE), "file", "filed")
    route = ModelRoute(stable_id("model", "filed"), "filed", (Target("simulated", "simulated"),), price=price_declared)
    environment = environment_catalog({"GROQ_API_KEY": "k"}, KINDS, load_price_list())
    declared = Declared(file=DeclaredCatalog(models=(route,)), environment=environment)
    for _ in range(2):
        world = await build_world(database, declared)
        await world.catalog.loader.load()
    async with database.platform() as session:
        history = await world.catalog.prices.list_page(session, world.admin, model=None, before=None, limit=100)
    assert {(one.model, one.source) for one in history if one.source == "file"} == {("filed", "file")}
    listed = {name for name, _ in load_price_list().models_of("groq")}
    assert {one.model for one in history if one.source == "builtin"} == listed
    assert len(history) == 1 + len(listed)
    assert all(one.is_in_force for one in history)


async def test_a_model_of_one_s_own_says_how_long_its_answers_can_be(world: World) -> None:
    shown = await create(world, max_output_tokens=4_096, context_tokens=32_768)
    assert (shown.max_output_tokens, shown.context_tokens) == (4_096, 32_768)
    route = (await world.snapshot()).find_model(world.tenant_id, "m")
    assert route is not None
    assert (route.max_output_tokens, route.context_tokens) == (4_096, 32_768)

    async with world.database.platform() as session:
        body = ModelUpdate.model_validate({"max_output_tokens": None, "context_tokens": 65_536})
        changed = await world.catalog.models.update(session, world.admin, shown.id, body, frozenset({1}))
    assert (changed.max_output_tokens, changed.context_tokens) == (None, 65_536)


async def test_a_model_says_what_it_can_do_and_what_its_calls_are_given(world: World) -> None:
    shown = await create(
        world,
        capabilities={"vision": False},
        drop_params="refuse",
        defaults={"temperature": 0.2},
        overrides={"logit_bias": None},
    )
    assert (shown.capabilities.vision, shown.capabilities.tools, shown.drop_params) == (False, None, "refuse")
    route = (await world.snapshot()).find_model(world.tenant_id, "m")
    assert route is not None
    assert dict(route.capabilities) == {"vision": False}
    assert route.parameters.refuses_dropped
    assert dict(route.parameters.defaults) == {"temperature": 0.2}
    assert dict(route.parameters.overrides) == {"logit_bias": None}

    async with world.database.platform() as session:
        body = ModelUpdate.model_validate({"overrides": {}, "capabilities": {"tools": True}})
        changed = await world.catalog.models.update(session, world.admin, shown.id, body, frozenset({1}))
    assert (changed.defaults, changed.overrides, changed.drop_params) == ({"temperature": 0.2}, {}, "refuse")
    assert (changed.capabilities.vision, changed.capabilities.tools) == (None, True)
    (_, entry) = [one for one in await world.audited() if ".models." in one.action]
    assert "temperature" in str(entry.after)


async def test_a_model_without_parameters_costs_its_calls_nothing(world: World) -> None:
    await create(world)
    route = (await world.snapshot()).find_model(world.tenant_id, "m")
    assert route is not None
    assert route.parameters is NO_PARAMETERS


@pytest.mark.parametrize(
    "fields",
    [
        {"defaults": {"model": "other"}},
        {"overrides": {"messages": []}},
        {"overrides": {"stream": True}},
        {"defaults": {"temperature": None}},
        {"defaults": {"temperature": "hot"}},
        {"defaults": {"temperature": 3}},
        {"defaults": {"temperature": True}},
        {"overrides": {"max_tokens": 0}},
        {"overrides": {"max_completion_tokens": 1.5}},
        {"overrides": {"Bad Name": 1}},
        {"overrides": {"seed": 2**70}},
        {"overrides": {"seed": float("nan")}},
        {"overrides": {"note": "a\x00b"}},
        {"overrides": {"note": "\ud800"}},
        {"overrides": {"note": "x" * 20_000}},
        {"overrides": {f"p{number}": 1 for number in range(51)}},
        {"overrides": []},
        {"drop_params": "ignore"},
        {"targets": [{"provider": "simulated", "model": "{rest}"}]},
        {"targets": [{"provider": "simulated", "model": "{other}"}]},
        {"capabilities": {"flying": True}},
        {"capabilities": {"vision": 1}},
    ],
)
def test_parameters_that_no_call_could_carry_are_refused(fields: dict[str, object]) -> None:
    body = {"name": "m", "targets": [{"provider": "simulated", "model": "simulated"}], **fields}
    with pytest.raises(ValidationError):
        ModelCreate.model_validate(body)


async def test_rest_of_a_name_needs_a_name_that_has_one(world: World) -> None:
    rest = [{"provider": "simulated", "model": "{rest}"}]
    shown = await create(world, name="toy/*", targets=rest)
    assert shown.targets[0].model == "{rest}"
    plain = await create(world, name="plain")
    body = ModelUpdate.model_validate({"targets": rest})
    async with world.database.platform() as session:
        with pytest.raises(BadRequest, match="has none"):
            await world.catalog.models.update(session, world.admin, plain.id, body, frozenset({1}))
