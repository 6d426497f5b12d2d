"""The arithmetic of the tables."""

import pytest

from bench.figures import Spread, pair_up, percentile, spread_ms
from bench.generator import Measured
from bench.harness import add_up, compare
from bench.rig import Sample
from bench.scenarios import MODELS, Scenario, suite
from bench.targets import Tollkeeper


def test_percentile_is_the_nearest_rank():
    values = list(range(1, 101))
    assert percentile(values, 0.50) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile([7.0], 0.01) == 7.0
    assert percentile([1, 2], 0.51) == 2
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_spread_sorts_and_turns_seconds_into_milliseconds():
    assert spread_ms([0.003, 0.001, 0.002]) == Spread(count=3, p50=2.0, p90=3.0, p99=3.0, max=3.0)
    assert spread_ms([]) is None


def test_ratio_is_the_median_of_the_pairs_not_the_ratio_of_the_medians():
    # The machine was half as fast in the second round: each pair still says 0.5.
    paired = pair_up([1000, 500, 1000], [500, 250, 500])
    assert (paired.floor, paired.target, paired.ratio) == (1000, 500, 0.5)
    assert (paired.ratio_low, paired.ratio_high) == (0.5, 0.5)
    assert pair_up([100, 100, 100], [90, 50, 10]).ratio == 0.5
    with pytest.raises(ValueError, match="zip"):
        pair_up([1.0], [1.0, 2.0])


def sample(per_second: float, cpu_seconds: float = 1.0, p50: float = 1.0, p99: float = 2.0, **changes) -> Sample:
    fields = {
        "generator": "own",
        "sent": 1000,
        "completed": 1000,
        "failed": 0,
        "seconds": 1.0,
        "per_second": per_second,
        "latency_ms": Spread(1000, p50, p50, p99, p99),
        "events": 5000,
        "events_fewest": 5,
        "events_most": 5,
    }
    served = changes.pop("served", 1000)
    return Sample(Measured(**(fields | changes)), served, cpu_seconds, 0.1)


STREAM = Scenario("stream", "five", "/x", b"", 1, 1.0, 1, is_stream=True, events_per_stream=5, unit="streams")


def test_costs_are_per_served_call_and_per_event():
    outcome = compare(STREAM, [sample(100, 0.5)], [sample(80, 1.0)])
    assert outcome.per_second.ratio == 0.8
    assert (outcome.cpu_us.floor, outcome.cpu_us.target, outcome.cpu_us.ratio) == (500, 1000, 2.0)
    assert outcome.cpu_us_per_event.target == 200
    assert outcome.store_cpu_us == 100
    assert (outcome.failed, outcome.unaccounted, outcome.wrong_streams) == (0, 0, False)


def test_call_that_the_upstream_did_not_serve_is_unaccounted():
    assert compare(STREAM, [sample(100, served=1001)], [sample(100, served=998)]).unaccounted == 3


def test_stream_with_a_missing_event_is_noticed():
    assert compare(STREAM, [sample(100)], [sample(100, events_fewest=4)]).wrong_streams


def test_added_time_is_taken_round_by_round_from_the_direct_call():
    rounds = [
        (sample(1, p50=0.1, p99=0.2), sample(1, p50=0.4, p99=0.6), sample(1, p50=0.6, p99=1.2)),
        (sample(1, p50=1.1, p99=5.2), sample(1, p50=1.4, p99=5.6), sample(1, p50=1.6, p99=6.2, failed=2)),
    ]
    added = add_up(50.0, rounds)
    assert added.floor_p50_ms == pytest.approx(0.3)
    assert added.target_p50_ms == pytest.approx(0.5)
    assert added.target_p99_ms == pytest.approx(1.0)
    assert added.failed == 2


def test_every_scenario_uses_a_model_that_the_target_is_told_about(tmp_path):
    command = Tollkeeper(MODELS).command(1, "http://127.0.0.1:2/v1", tmp_path)
    config = (tmp_path / "tollkeeper.yaml").read_text()
    assert str(tmp_path / "tollkeeper.yaml") in command
    for is_quick in (True, False):
        for scenario in suite(is_quick=is_quick).scenarios:
            model = scenario.body.partition(b'"model":"')[2].partition(b'"')[0].decode()
            assert f'"{model}"' in config


def test_large_call_is_a_megabyte_and_small_one_a_fifth_of_a_kilobyte():
    sizes = {scenario.name: len(scenario.body) for scenario in suite(is_quick=True).scenarios}
    assert 1_000_000 <= sizes["large"] <= 1_001_000
    assert 150 <= sizes["whole"] <= 250
