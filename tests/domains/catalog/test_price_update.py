"""A newer price list: shown first, then in force for the next call, with history, and twice is the same as once."""

from typing import Any

from sqlalchemy import func, select

from tests.domains.catalog.conftest import World
from tests.domains.catalog.kinds import KINDS
from tollkeeper.contracts.catalog import Price
from tollkeeper.db.models.catalog import Price as PriceRow
from tollkeeper.domains.catalog.environment import environment_catalog
from tollkeeper.domains.catalog.loader import Declared
from tollkeeper.domains.catalog.prices import PriceFile, load_price_list
from tollkeeper.domains.catalog.schemas import PriceUpdateOut

LATER = "2027-01-01"


def a_list(*models: dict[str, Any], checked: str = LATER) -> PriceFile:
    vendor = {"kind": "openai", "source": "https://prices.example/list", "checked": checked, "models": models}
    return PriceFile.model_validate({"vendors": [vendor]})


def row(model: str, input_: str = "3", output: str = "9", **more: object) -> dict[str, Any]:
    return {"model": model, "input_per_million": input_, "output_per_million": output, **more}


async def put(world: World, price_list: PriceFile, *, apply: bool = True) -> PriceUpdateOut:
    async with world.database.platform() as session:
        return await world.catalog.price_update(session, world.admin, price_list, apply=apply)


async def serve_openai(world: World) -> None:
    found = environment_catalog({"OPENAI_API_KEY": "sk-x"}, KINDS, load_price_list())
    await world.catalog.loader.replace_declared(Declared(world.catalog.loader.sources.file, found))


async def price_in_force(world: World, name: str) -> Price:
    route = (await world.snapshot()).models[None, name]
    assert route.price is not None
    return route.price


async def stored(world: World) -> int:
    async with world.database.platform() as session:
        return await session.scalar(select(func.count()).where(PriceRow.source == "list")) or 0


async def test_a_list_is_shown_before_it_changes_anything(world: World) -> None:
    await serve_openai(world)
    shown = await put(world, a_list(row("gpt-new"), row("gpt-4o", "2.50", "11")), apply=False)

    assert [one.model for one in shown.added] == ["gpt-new"]
    (changed,) = shown.changed
    assert {(one.field, one.old, one.new) for one in changed.changes} >= {("output_per_million", "10", "11")}
    assert "input_per_million" not in {one.field for one in changed.changes}
    assert shown.kept > 0
    assert await stored(world) == 0
    assert (await price_in_force(world, "gpt-4o")).output == 10_000_000


async def test_a_model_released_today_is_served_and_priced_today(world: World) -> None:
    await serve_openai(world)
    assert (None, "gpt-new") not in (await world.snapshot()).models
    await put(world, a_list(row("gpt-new")))

    snapshot = await world.snapshot()
    for name in ("gpt-new", "openai/gpt-new"):
        route = snapshot.models[None, name]
        assert route.price is not None
        assert (route.price.input, route.targets[0].provider) == (3_000_000, "openai")


async def test_a_changed_price_takes_over_and_the_former_stays_in_the_history(world: World) -> None:
    await serve_openai(world)
    before = await price_in_force(world, "gpt-4o")
    await put(world, a_list(row("gpt-4o", "2", "8")))
    second = await price_in_force(world, "gpt-4o")
    await put(world, a_list(row("gpt-4o", "1", "4")))
    third = await price_in_force(world, "gpt-4o")

    assert [before.output, second.output, third.output] == [10_000_000, 8_000_000, 4_000_000]
    assert len({before.version, second.version, third.version}) == 3
    async with world.database.platform() as session:
        rows = {one.id: one for one in await session.scalars(select(PriceRow).where(PriceRow.model == "gpt-4o"))}
    assert {before.version, second.version, third.version} <= rows.keys()
    assert (rows[third.version].reference, str(rows[third.version].checked_on)) == (
        "https://prices.example/list",
        LATER,
    )


async def test_the_same_list_twice_is_the_same_as_once(world: World) -> None:
    price_list = a_list(row("gpt-new"), row("gpt-4o", "2", "8"))
    await put(world, price_list)
    audited = len(await world.audited())
    again = await put(world, price_list)

    assert (again.added, again.changed, again.unchanged) == ([], [], 2)
    assert await stored(world) == 2
    assert len(await world.audited()) == audited


async def test_amounts_written_otherwise_are_no_change(world: World) -> None:
    await put(world, a_list(row("gpt-new", "3", "9")))

    assert (await put(world, a_list(row("gpt-new", "3.00", "9.0")))).unchanged == 1


async def test_an_older_list_does_not_bring_old_prices_back(world: World) -> None:
    await serve_openai(world)
    await put(world, a_list(row("gpt-4o", "2", "8")))
    answer = await put(world, a_list(row("gpt-4o", "7", "7"), checked="2020-01-01"))

    assert (answer.older, answer.changed) == (1, [])
    assert (await price_in_force(world, "gpt-4o")).output == 8_000_000


async def test_a_changed_tier_is_a_change(world: World) -> None:
    def tiered(amount: str) -> PriceFile:
        tier = {"service_tier": "flex", "input_per_million": amount, "output_per_million": "4"}
        return a_list(row("gpt-new", tiers=[tier]))

    await put(world, tiered("1"))
    (changed,) = (await put(world, tiered("1.5"))).changed

    (change,) = changed.changes
    assert (change.field, change.old, change.new) == ("flex over 0: input_per_million", "1", "1.5")


async def test_an_update_is_audited_once_with_the_names(world: World) -> None:
    await put(world, a_list(row("gpt-new"), row("gpt-newer")))

    (entry,) = [one for one in await world.audited() if one.action == "catalog.prices.update"]
    assert "openai/gpt-newer" in str(entry.after)


async def test_a_list_brings_figures_and_one_without_them_takes_none_away(world: World) -> None:
    await serve_openai(world)

    async def figures(name: str) -> tuple[int | None, int | None]:
        served = (await world.snapshot()).models[None, name]
        return served.max_output_tokens, served.context_tokens

    assert await figures("gpt-4o") == (16_384, 128_000)
    await put(world, a_list(row("gpt-4o", "2.50", "11"), row("gpt-new", max_output_tokens=7, context_tokens=70)))
    assert await figures("gpt-4o") == (16_384, 128_000)
    assert await figures("gpt-new") == (7, 70)

    shown = await put(world, a_list(row("gpt-new", max_output_tokens=8), checked="2027-01-02"))
    assert [(one.field, one.old, one.new) for one in shown.changed[0].changes] == [("max_output_tokens", "7", "8")]
    assert (await figures("gpt-new"))[0] == 8


async def test_a_list_brings_capabilities_and_one_without_them_takes_none_away(world: World) -> None:
    await serve_openai(world)

    async def capabilities(name: str) -> dict[str, bool]:
        return dict((await world.snapshot()).models[None, name].capabilities)

    shipped = await capabilities("gpt-4o")
    assert shipped["audio"] is False
    await put(world, a_list(row("gpt-4o", "2.50", "11"), row("gpt-new", capabilities={"vision": False})))
    assert await capabilities("gpt-4o") == shipped
    assert await capabilities("gpt-new") == {"vision": False}
    shown = await put(world, a_list(row("gpt-new", capabilities={"vision": True}), checked="2027-01-02"))
    assert [(one.field, one.old, one.new) for one in shown.changed[0].changes] == [
        ("capabilities.vision", "false", "true")
    ]
    assert await capabilities("gpt-new") == {"vision": True}
