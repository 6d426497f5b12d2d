import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.forecast import DEFAULT_TOKENS, ENOUGH, Forecasts

KEY, OTHER_KEY = uuid7(), uuid7()


def learned(lengths: list[int], **settings: int) -> Forecasts:
    forecasts = Forecasts(**settings)
    for length in lengths:
        forecasts.learn("m", KEY, length)
    return forecasts


def test_nothing_known_is_the_default_within_the_cap() -> None:
    forecasts = Forecasts()

    assert forecasts.forecast("m", KEY) == DEFAULT_TOKENS
    assert forecasts.forecast("m", KEY, 50) == 50
    assert learned([9_000] * (ENOUGH - 1)).forecast("m", KEY) == DEFAULT_TOKENS


@settings(deadline=None)
@given(st.lists(st.integers(0, 200_000), min_size=ENOUGH, max_size=300), st.integers(50, 99))
def test_as_many_answers_as_promised_stay_within_the_forecast(lengths: list[int], percentile: int) -> None:
    forecast = learned(lengths, percentile=percentile).forecast("m", KEY)
    beyond = sum(length > forecast for length in lengths)

    assert beyond * 100 <= len(lengths) * (100 - percentile)
    # And it is no larger than it has to be: an eighth above the quantile itself.
    ordered = sorted(lengths, reverse=True)
    exact = ordered[len(lengths) * (100 - percentile) // 100]
    assert forecast <= max(8, exact * 9 / 8)


def test_a_key_that_is_new_has_the_forecast_of_its_model() -> None:
    forecasts = learned([100] * 50)
    for _ in range(50):
        forecasts.learn("m", OTHER_KEY, 3_000)

    assert 100 <= forecasts.forecast("m", KEY) < 120
    assert 3_000 <= forecasts.forecast("m", OTHER_KEY) < 3_400
    assert 3_000 <= forecasts.forecast("m", uuid7()) < 3_400
    assert forecasts.forecast("another", KEY) == DEFAULT_TOKENS


def test_what_answers_became_outweighs_what_they_were() -> None:
    forecasts = learned([5_000] * 10_000)
    for _ in range(10_000):
        forecasts.learn("m", KEY, 60)

    assert forecasts.forecast("m", KEY) < 70


def test_the_same_answers_make_the_same_forecast() -> None:
    lengths = [random.Random(3).randint(0, 5_000) for _ in range(5_000)]

    assert learned(lengths).forecast("m", KEY) == learned(lengths).forecast("m", KEY)


def test_no_more_is_remembered_than_allowed() -> None:
    forecasts = learned([100] * ENOUGH, remembers=8)
    for _ in range(100):
        forecasts.learn("m", uuid7(), 100)

    assert len(forecasts._of_keys) == 8
    assert forecasts.forecast("m", KEY) < 120


def test_absurd_counts_do_no_harm() -> None:
    forecasts = learned([-5, 0, 2**40] * ENOUGH)

    assert forecasts.forecast("m", KEY, 4_096) == 4_096
