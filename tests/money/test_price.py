import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.contracts.catalog import Price, PriceTier, ServiceTier
from tollkeeper.contracts.chat import Usage
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.price import NO_CALL, Measure, cost_nano, cost_pico, measure_of

INPUT = ("input", "cache_read", "cache_write", "cache_write_1h", "input_audio", "input_image")
OUTPUT = ("output", "reasoning", "output_audio", "output_image")
CLASSES = (*INPUT, *OUTPUT)
tokens = st.integers(0, 10**9)
pico = st.integers(0, 10**9)
prices = st.builds(
    Price,
    version=st.just(uuid7()),
    input=pico,
    output=pico,
    **{name: st.none() | pico for name in CLASSES if name not in {"input", "output"}},
)
usages = st.builds(Usage, **dict.fromkeys(CLASSES, tokens))


def only(name: str, count: int) -> Usage:
    return Usage(**{name: count})


@given(usages, prices)
def test_each_token_is_charged_once(usage: Usage, price: Price) -> None:
    apart = [cost_pico(only(name, getattr(usage, name)), price) for name in CLASSES]

    assert cost_pico(usage, price) == sum(apart)


@given(usages, prices)
def test_a_cost_is_never_negative_and_rounds_half_up_once(usage: Usage, price: Price) -> None:
    exact = cost_pico(usage, price)
    rounded = cost_nano(usage, price)

    assert rounded >= 0
    assert -500 <= exact - 1000 * rounded < 500


@given(usages, usages, prices)
def test_more_tokens_never_cost_less(usage: Usage, more: Usage, price: Price) -> None:
    both = Usage(**{name: getattr(usage, name) + getattr(more, name) for name in CLASSES})

    assert cost_pico(both, price) == cost_pico(usage, price) + cost_pico(more, price)
    assert cost_nano(both, price) >= cost_nano(usage, price)


@given(usages, pico, pico)
def test_without_prices_of_their_own_classes_cost_what_their_side_costs(usage: Usage, input_: int, output: int) -> None:
    price = Price(uuid7(), input_, output)

    assert cost_pico(usage, price) == usage.prompt_tokens * input_ + usage.completion_tokens * output


def test_a_price_of_zero_is_a_price() -> None:
    price = Price(uuid7(), input=150_000, output=600_000, cache_read=0)

    assert cost_nano(Usage(cache_read=1_000_000), price) == 0


def test_the_one_hour_write_falls_back_to_the_write() -> None:
    price = Price(uuid7(), input=3, output=5, cache_write=4)

    assert cost_pico(Usage(cache_write_1h=10), price) == 40
    assert cost_pico(Usage(cache_write_1h=10), dataclasses.replace(price, cache_write_1h=6)) == 60


def test_known_bills() -> None:
    price = Price(uuid7(), input=150_000, output=600_000, cache_read=75_000)

    assert cost_nano(Usage(input=12, output=30), price) == 19_800
    assert cost_nano(Usage(input=1), Price(uuid7(), input=499, output=0)) == 0
    assert cost_nano(Usage(input=1), Price(uuid7(), input=500, output=0)) == 1


# OpenAI's gpt-6.1-sol: twice the input and one and a half times the output beyond 272,000 input tokens, half in flex.
LONG = 272_000
SOL = Price(
    uuid7(),
    input=2_000_000,
    output=10_000_000,
    cache_read=100_000,
    tiers=(
        PriceTier(Price(uuid7(), 4_000_000, 15_000_000, cache_read=200_000), over_input_tokens=LONG),
        PriceTier(Price(uuid7(), 1_000_000, 5_000_000, cache_read=50_000), ServiceTier.FLEX),
        PriceTier(Price(uuid7(), 2_000_000, 7_500_000, cache_read=100_000), ServiceTier.FLEX, LONG),
    ),
)


def test_the_long_price_begins_with_the_token_after_the_step() -> None:
    assert cost_nano(Usage(input=LONG, output=1), SOL) == LONG * 2_000 + 10_000
    assert cost_nano(Usage(input=LONG + 1, output=1), SOL) == (LONG + 1) * 4_000 + 15_000


def test_every_input_token_counts_for_the_step_cached_ones_too() -> None:
    usage = Usage(input=1, cache_read=LONG, output=1)

    assert cost_nano(usage, SOL) == 4_000 + LONG * 200 + 15_000


def test_a_service_tier_has_steps_of_its_own() -> None:
    flex = Measure(ServiceTier.FLEX)

    assert cost_nano(Usage(input=1, output=1), SOL, flex) == 1_000 + 5_000
    assert cost_nano(Usage(input=LONG + 1), SOL, flex) == (LONG + 1) * 2_000


def test_a_service_tier_without_rates_costs_what_the_standard_one_does() -> None:
    for usage in (Usage(input=5, output=3), Usage(input=LONG + 5, output=3)):
        assert cost_pico(usage, SOL, Measure(ServiceTier.PRIORITY)) == cost_pico(usage, SOL)


def test_rates_of_a_tier_take_nothing_from_the_price_around_them() -> None:
    price = Price(uuid7(), 10, 20, cache_read=1, request=7, tiers=(PriceTier(Price(uuid7(), 5, 6), ServiceTier.BATCH),))

    assert cost_pico(Usage(cache_read=3), price, Measure(ServiceTier.BATCH)) == 15
    assert cost_pico(Usage(cache_read=3), price) == 3 + 7


@given(usages, st.integers(0, 10**9), st.sampled_from(ServiceTier), st.data())
def test_more_tokens_never_cost_less_across_a_rising_step(
    usage: Usage, step: int, tier: ServiceTier, data: st.DataObject
) -> None:
    low = data.draw(prices)
    rise = data.draw(st.integers(1, 5))
    high = dataclasses.replace(
        low, **{name: None if (rate := getattr(low, name)) is None else rate * rise for name in CLASSES}
    )
    price = dataclasses.replace(low, tiers=(PriceTier(high, over_input_tokens=step),))
    grown = data.draw(st.sampled_from(CLASSES))
    more = dataclasses.replace(usage, **{grown: getattr(usage, grown) + 1})

    assert cost_nano(more, price, Measure(tier)) >= cost_nano(usage, price, Measure(tier)) >= 0


@given(usages, prices, st.sampled_from(ServiceTier))
def test_a_tiered_cost_is_the_cost_at_the_rates_of_one_tier(usage: Usage, price: Price, tier: ServiceTier) -> None:
    flat = cost_pico(usage, price, Measure(tier))
    tiered = dataclasses.replace(SOL, tiers=(PriceTier(price, tier),))

    assert cost_pico(usage, tiered, Measure(tier)) == flat


def test_what_is_charged_beside_tokens() -> None:
    price = Price(uuid7(), 0, 0, image=40_000_000_000, audio_second=100_000_000, character=15_000_000, request=1_000)
    measure = Measure(images=2, audio_ms=1_500, characters=1_000)

    assert cost_nano(Usage(), price, measure) == 80_000_000 + 150_000 + 15_000_000 + 1
    assert cost_nano(Usage(), price) == 1
    assert cost_nano(Usage(), price, NO_CALL) == 0


@pytest.mark.parametrize(
    ("word", "tier"),
    [
        ("flex", ServiceTier.FLEX),
        ("priority", ServiceTier.PRIORITY),
        ("fast", ServiceTier.PRIORITY),
        ("batch", ServiceTier.BATCH),
        ("default", ServiceTier.STANDARD),
        ("auto", ServiceTier.STANDARD),
        (None, ServiceTier.STANDARD),
        ({}, ServiceTier.STANDARD),
    ],
)
def test_what_vendors_call_their_tiers(word: object, tier: ServiceTier) -> None:
    assert measure_of(word).service_tier is tier
