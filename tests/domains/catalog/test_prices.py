"""The price list that ships: every row is exact, sourced and dated."""

import json
from decimal import Decimal
from importlib.resources import files

import pytest
from pydantic import ValidationError

from tollkeeper.contracts.catalog import Price
from tollkeeper.domains.catalog.fields import PriceFields
from tollkeeper.domains.catalog.prices import (
    FREE,
    PRICE_CLASSES,
    PriceFile,
    load_price_list,
    read_price,
    read_price_file,
    write_price,
)

CONTENT = files("tollkeeper.domains.catalog").joinpath("prices.json").read_bytes()


def test_every_listed_price_becomes_exact_pico_dollars() -> None:
    prices = load_price_list()
    rows = [(vendor["kind"], row) for vendor in json.loads(CONTENT)["vendors"] for row in vendor["models"]]
    assert 60 <= len(rows) <= 300
    for kind, row in rows:
        price = prices.find(kind, row["model"])
        assert price is not None
        for source, target in PRICE_CLASSES.items():
            pico = getattr(price, target)
            written = row.get(source)
            assert (pico is None) == (written is None)
            if written is not None:
                assert Decimal(pico) / 1_000_000 == Decimal(written)


def test_every_vendor_names_its_source_and_date() -> None:
    for vendor in PriceFile.model_validate_json(CONTENT).vendors:
        assert vendor.source.startswith("https://")
        assert 2025 <= vendor.checked.year <= 2026


def test_cached_input_never_costs_more_than_input() -> None:
    for price in load_price_list().prices.values():
        assert price.cache_read is None or price.cache_read <= price.input


def test_price_survives_writing_and_reading() -> None:
    fields = PriceFields.model_validate({"input_per_million": "0.123456", "output_per_million": "10"})
    price = read_price(fields, "test")
    assert (price.input, price.output, price.cache_read) == (123_456, 10_000_000, None)
    assert write_price(price) == fields


def test_free_is_a_price_of_zero_in_every_class() -> None:
    classes = {name: getattr(FREE, name) for name in Price.__slots__ if name not in {"version", "tiers"}}
    assert set(classes.values()) == {0}


@pytest.mark.parametrize("amount", ["0.1234567", "-1", "NaN", "Infinity", "1e9", 0.5, True, None, "", "1,5", "1" * 40])
def test_amount_that_is_not_exact_money_is_refused(amount: object) -> None:
    with pytest.raises(ValidationError):
        PriceFields.model_validate({"input_per_million": amount, "output_per_million": "1"})


def test_model_listed_twice_is_refused() -> None:
    row = {"model": "m", "input_per_million": "1", "output_per_million": "1"}
    vendor = {"kind": "k", "source": "https://x", "checked": "2026-01-01", "models": [row, row]}
    with pytest.raises(ValueError, match="lists m twice"):
        read_price_file(json.dumps({"vendors": [vendor]}).encode())


TIERED = {
    "input_per_million": "2",
    "output_per_million": "10",
    "per_request": "0.000000001",
    "per_thousand_characters": "0.015",
    "tiers": [
        {"over_input_tokens": 272000, "input_per_million": "4", "output_per_million": "15", "per_image": "0.04"},
        {"service_tier": "flex", "input_per_million": "1", "output_per_million": "5"},
    ],
}


def test_tiers_and_units_survive_writing_and_reading() -> None:
    fields = PriceFields.model_validate(TIERED)
    price = read_price(fields, "test")

    assert (price.request, price.character) == (1_000, 15_000_000)
    assert [(t.service_tier, t.over_input_tokens, t.rates.input, t.rates.image) for t in price.tiers] == [
        ("standard", 272_000, 4_000_000, 40_000_000_000),
        ("flex", 0, 1_000_000, None),
    ]
    assert {tier.rates.version for tier in price.tiers} == {price.version}
    assert write_price(price) == fields


def test_another_tier_makes_another_version() -> None:
    changed = {**TIERED, "tiers": TIERED["tiers"][:1]}
    versions = {read_price(PriceFields.model_validate(one), "test").version for one in (TIERED, changed)}

    assert len(versions) == 2


@pytest.mark.parametrize(
    "tiers",
    [
        [{"input_per_million": "1", "output_per_million": "1"}],
        [{"service_tier": "flex", "input_per_million": "1", "output_per_million": "1"}] * 2,
        [{"service_tier": "slow", "input_per_million": "1", "output_per_million": "1"}],
        [{"over_input_tokens": -1, "input_per_million": "1", "output_per_million": "1"}],
        [{"over_input_tokens": 1.5, "input_per_million": "1", "output_per_million": "1"}],
        [{"service_tier": "flex", "input_per_million": "1"}],
    ],
)
def test_tiers_that_say_two_things_or_nothing_are_refused(tiers: list[dict[str, object]]) -> None:
    with pytest.raises(ValidationError):
        PriceFields.model_validate({**TIERED, "tiers": tiers})


def test_unit_price_finer_than_a_nano_dollar_is_refused() -> None:
    with pytest.raises(ValidationError, match="nine decimals"):
        PriceFields.model_validate({**TIERED, "per_image": "0.0000000001"})


@pytest.mark.parametrize("day", [0, 1, "0", "1700000000", "2026-11-21T00:00:00", "2026-13-01", None, True])
def test_what_is_no_day_is_refused(day: object) -> None:
    with pytest.raises(ValidationError):
        PriceFile.model_validate({"vendors": [{"kind": "k", "source": "s", "checked": day, "models": []}]})


def test_long_prompts_and_other_tiers_of_the_list_are_priced_apart() -> None:
    prices = load_price_list()
    sol, haiku = prices.find("openai", "gpt-6.1-sol"), prices.find("anthropic", "claude-haiku-5-5")
    assert sol is not None
    assert haiku is not None
    # OpenAI and Anthropic, their pricing pages, 2026-10: twice the input and 1.5 times the output; five times both.
    assert {(t.service_tier, t.over_input_tokens, t.rates.input, t.rates.output) for t in sol.tiers} >= {
        ("standard", 272_000, 4_000_000, 15_000_000),
        ("flex", 0, 1_000_000, 5_000_000),
        ("priority", 0, 4_000_000, 20_000_000),
    }
    assert {(t.service_tier, t.over_input_tokens, t.rates.cache_write_1h) for t in haiku.tiers} >= {
        ("standard", 100_000, 1_000_000),
        ("batch", 0, 100_000),
    }
