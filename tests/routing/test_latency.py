"""What a worker believes of a model's speed."""

from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.gateway.routing.latency import LEAST_OBSERVATIONS, Latency


def test_a_slow_answer_counts_at_once_and_fades() -> None:
    latency = Latency()
    for second in range(10):
        latency.observe(0.1, float(second))

    latency.observe(2.0, 10.0)
    assert latency.estimate(10.0) == 2.0
    for step in range(300):
        latency.observe(0.1, 10.0 + step / 10)

    estimate = latency.estimate(40.0)
    assert estimate is not None
    assert 0.1 <= estimate < 0.3


def test_one_that_is_not_called_is_looked_at_again_some_day() -> None:
    latency = Latency()
    latency.observe(5.0, 0.0)

    later = [latency.estimate(seconds) or 0.0 for seconds in (5.0, 60.0, 300.0)]

    assert later[0] == 5.0
    assert later[0] > later[1] > later[2]


def test_a_wait_without_an_answer_counts_where_it_was_long() -> None:
    latency = Latency()
    latency.at_least(9.0, 0.0)
    assert latency.estimate(0.0) is None
    latency.observe(1.0, 0.0)

    latency.at_least(0.5, 1.0)
    assert latency.estimate(1.0) == 1.0
    latency.at_least(4.0, 2.0)

    assert latency.estimate(2.0) == 4.0


@given(st.lists(st.floats(0.0, 500.0), min_size=LEAST_OBSERVATIONS, max_size=400))
def test_the_95th_percentile_is_never_too_small_nor_a_fifth_too_large(seconds: list[float]) -> None:
    latency = Latency()
    for number, value in enumerate(seconds):
        latency.observe(value, float(number))
    exact = sorted(seconds)[-(-len(seconds) * 95 // 100) - 1]

    found = latency.quantile(0.95)

    assert found is not None
    assert exact * 0.999 <= found <= max(exact * 1.21, 0.001)


def test_nothing_is_said_of_a_few_calls() -> None:
    latency = Latency()
    for _ in range(LEAST_OBSERVATIONS - 1):
        latency.observe(1.0, 0.0)

    assert latency.quantile(0.95) is None


def test_a_new_pace_is_learnt_however_long_the_old_one_held() -> None:
    latency = Latency()
    for number in range(100_000):
        latency.observe(5.0, number / 100)

    for number in range(2_000):
        latency.observe(0.1, 1_000.0 + number / 100)

    p95 = latency.quantile(0.95)
    assert p95 is not None
    assert p95 < 0.2
