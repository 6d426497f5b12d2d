"""The corpus of the semantic cache is the same for everybody, and on it the guards keep their promises without any model."""

from pathlib import Path

import numpy as np
import pytest

from bench.cache import cli, evaluate, trace
from bench.cache.corpus import Pair, generate, read_pairs, scenarios, write_pairs
from bench.cache.evaluate import Judged, Rates
from tollkeeper.gateway.cache.guards import find_refusal, read, signature

ONE = np.ones(1, dtype=np.float32)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return generate(7)


@pytest.fixture(scope="module")
def judged(pairs: list[Pair]) -> list[Judged]:
    return evaluate.judge_all(pairs, None)


def test_a_seed_makes_the_same_pairs_again_and_another_others(pairs: list[Pair]) -> None:
    assert generate(7) == pairs
    assert generate(8) != pairs


def test_the_corpus_is_as_wide_as_it_says(pairs: list[Pair]) -> None:
    for part in ("tuned", "held"):
        some = [pair for pair in pairs if pair.part == part]
        assert len(some) > 5_000
        assert 0.4 < sum(pair.same for pair in some) / len(some) < 0.6
        assert len({pair.language for pair in some}) >= 4
        assert {pair.domain for pair in some} == {"support", "code", "finance", "medicine", "travel", "facts"}


def test_no_scenario_contradicts_itself() -> None:
    for scenario in scenarios():
        for values in scenario.values():
            same = {text.format(**values) for text in scenario.same}
            other = {text.format(**values) for text in scenario.other}
            assert len(same) == len(scenario.same), scenario.name
            assert not same & other, scenario.name


@pytest.mark.parametrize("part", ["tuned", "held"])
def test_what_the_guards_let_pass_is_right_and_a_fifth_of_the_paraphrases(judged: list[Judged], part: str) -> None:
    found = evaluate.rates([each for each in judged if each.pair.part == part], evaluate.by_guards)
    assert found.served >= 1_000
    assert found.false_rate <= 0.01
    assert found.false_interval[1] <= 0.02
    assert found.hit_rate >= 0.2


def test_guards_that_agree_have_one_signature(judged: list[Judged]) -> None:
    """A look-up by it loses none that a comparison with each would find."""
    passing = [each.pair for each in judged if not each.refused_by]
    assert passing
    for pair in passing:
        assert signature(read(pair.a)) == signature(read(pair.b)) is not None


def test_guards_do_not_mind_which_came_first(pairs: list[Pair]) -> None:
    for pair in pairs[::7]:
        one, other = read(pair.a), read(pair.b)
        assert (find_refusal(one, other) is None) == (find_refusal(other, one) is None), pair


def test_a_support_desk_is_answered_again_more_than_three_times_in_ten() -> None:
    asked = trace.make_trace(7, 1_500)
    assert trace.make_trace(7, 1_500) == asked
    found = trace.replay(asked, lambda text: ONE, 0.0)
    assert found.hit_rate > 0.3
    assert found.wrong <= 0.01 * (found.exact + found.semantic)


def test_pairs_of_ones_own_are_read_as_they_were_written(pairs: list[Pair], tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    write_pairs(pairs[:20], path)
    assert [(pair.a, pair.b, pair.same, pair.domain) for pair in read_pairs(path)] == [
        (pair.a, pair.b, pair.same, pair.domain) for pair in pairs[:20]
    ]
    path.write_text('{"a": "How?", "b": "Why?", "same": false}\n\n')
    [pair] = read_pairs(path)
    assert (pair.kind, pair.domain) == ("near-miss", "general")


def test_the_command_judges_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        '{"a": "How do I open it?", "b": "How can I open it?", "same": true}\n'
        '{"a": "How do I open it?", "b": "How do I close it?", "same": false}\n'
    )
    assert cli.main(["--data", str(path), "--guards-only"]) == 0
    said = capsys.readouterr().out
    assert "| guards alone | 100.0 %" in said
    assert "1 of 1" in said


def test_rates_are_shares_of_what_they_name() -> None:
    found = Rates(paraphrases=200, near_misses=100, hits=50, wrong=2)
    assert (found.hit_rate, found.served) == (0.25, 52)
    assert found.false_rate == pytest.approx(2 / 52)
