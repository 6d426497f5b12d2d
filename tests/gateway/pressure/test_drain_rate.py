"""The rate at which calls end, as long as somebody waits for that."""

import pytest

from tollkeeper.gateway.pressure.drain_rate import DrainRate


def test_idle_time_before_the_wait_does_not_count() -> None:
    rate = DrainRate()
    assert rate.measured(0.0, 0) is None
    rate.begin(1_000.0, 40)
    assert rate.measured(1_000.1, 60) is None, "too short to say"
    assert rate.measured(1_001.0, 45) is None, "too few to say"
    assert rate.measured(1_002.0, 140) == pytest.approx(50.0)


def test_the_last_seconds_count_and_the_latest_rate_is_remembered() -> None:
    rate = DrainRate()
    rate.begin(0.0, 0)
    for second in range(1, 21):
        rate.measured(float(second), 100 * second)
    for second in range(21, 60):
        rate.measured(float(second), 2_000 + 10 * (second - 20))
    assert rate.measured(60.0, 2_400) == pytest.approx(10.0, rel=0.15)
    last = rate.last
    rate.begin(100.0, 2_400)
    assert rate.measured(100.1, 2_401) is None
    assert rate.last == last
