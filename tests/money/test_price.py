import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.contracts.catalog import Price
from tollkeeper.contracts.chat import Usage
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.price import cost_nano, cost_pico

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
