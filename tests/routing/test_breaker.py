"""The breaker: when it opens, whom it lets through then, and that it always comes back."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.contracts.routing import DEFAULT_BREAKER, BreakerRule
from tollkeeper.gateway.routing.breaker import JITTER, MOST_TRIALS, Breaker, Pass, State

RULE = BreakerRule(failures=3, open_seconds=2.0, most_open_seconds=8.0, successes=2, floor_millionths=0)


def call(breaker: Breaker, now: float, *, is_ok: bool, rule: BreakerRule = RULE, chance: float = 0.0) -> Pass:
    """One call from its beginning to its end, in no time."""
    how = breaker.admit(rule, now, 0.999)
    if how is Pass.REFUSED:
        return how
    if is_ok:
        breaker.succeeded(rule, how, breaker.generation, now)
    else:
        breaker.failed(rule, how, breaker.generation, now, chance)
    return how


def opened(now: float = 0.0, rule: BreakerRule = RULE) -> Breaker:
    breaker = Breaker(now)
    for _ in range(rule.failures):
        call(breaker, now, is_ok=False, rule=rule)
    assert breaker.state is State.OPEN
    return breaker


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker(0.0)

    for is_ok in (False, False, True, False, False):
        call(breaker, 1.0, is_ok=is_ok)
    assert breaker.state is State.CLOSED
    call(breaker, 1.0, is_ok=False)

    assert breaker.state is State.OPEN
    assert breaker.why == "3 failures in a row"
    assert call(breaker, 2.9, is_ok=True) is Pass.REFUSED
    assert breaker.retry_at(2.9) == 3.0


def test_a_share_of_failures_within_the_window_opens_it() -> None:
    rule = replace(RULE, failures=1_000, least_calls=20, most_errors_millionths=250_000, window_seconds=10.0)
    breaker = Breaker(0.0)

    for number in range(19):
        call(breaker, number / 10, is_ok=number % 2 == 0, rule=rule)
    assert breaker.state is State.CLOSED, "too few calls to say"
    call(breaker, 1.9, is_ok=False, rule=rule)

    assert breaker.state is State.OPEN
    assert breaker.why == "10 of 20 calls failed"


def test_failures_before_the_window_are_forgotten() -> None:
    rule = replace(RULE, failures=1_000, least_calls=10, window_seconds=10.0)
    breaker = Breaker(0.0)
    for _ in range(9):
        call(breaker, 0.0, is_ok=False, rule=rule)

    for number in range(40):
        call(breaker, 20.0 + number / 10, is_ok=number % 8 != 0, rule=rule)

    assert breaker.state is State.CLOSED


def test_one_trial_at_a_time_once_the_open_time_is_over() -> None:
    breaker = opened()

    first = breaker.admit(RULE, 2.0, 0.999)

    assert first is Pass.TRIAL
    assert breaker.state is State.HALF_OPEN
    assert [breaker.admit(RULE, 2.0 + number / 100, 0.999) for number in range(50)] == [Pass.REFUSED] * 50
    breaker.succeeded(RULE, first, breaker.generation, 2.6)
    assert breaker.admit(RULE, 2.6, 0.999) is Pass.TRIAL


def test_the_floor_lets_some_more_through_but_never_many_at_once() -> None:
    rule = replace(RULE, floor_millionths=100_000)
    breaker = opened(rule=rule)

    let_through = [breaker.admit(rule, 2.0, 0.05) for _ in range(100)]

    assert let_through.count(Pass.TRIAL) == MOST_TRIALS


def test_enough_good_trials_close_it() -> None:
    breaker = opened()

    assert call(breaker, 2.0, is_ok=True) is Pass.TRIAL
    assert breaker.state is State.HALF_OPEN
    assert call(breaker, 2.1, is_ok=True) is Pass.TRIAL

    assert breaker.state is State.CLOSED
    assert call(breaker, 2.1, is_ok=True) is Pass.CALL


def test_a_failed_trial_doubles_the_open_time_up_to_the_most() -> None:
    breaker, now, times = opened(), 0.0, []

    for _ in range(5):
        times.append(breaker.until - now)
        now = breaker.until
        assert call(breaker, now, is_ok=False) is Pass.TRIAL

    assert times == [2.0, 4.0, 8.0, 8.0, 8.0]


def test_opening_again_soon_after_it_closed_takes_longer() -> None:
    breaker = opened()
    for now in (2.0, 2.1):
        call(breaker, now, is_ok=True)

    for _ in range(RULE.failures):
        call(breaker, 3.0, is_ok=False)
    assert breaker.until - 3.0 == 4.0
    for now in (7.0, 7.1):
        call(breaker, now, is_ok=True)
    for _ in range(RULE.failures):
        call(breaker, 100.0, is_ok=False)

    assert breaker.until - 100.0 == 2.0


def test_what_began_before_it_opened_does_not_count_any_more() -> None:
    breaker = Breaker(0.0)
    early = breaker.generation
    for _ in range(RULE.failures):
        call(breaker, 0.0, is_ok=False)
    until = breaker.until

    breaker.failed(RULE, Pass.CALL, early, 1.0, 0.0)
    breaker.succeeded(RULE, Pass.CALL, early, 1.0)

    assert (breaker.state, breaker.until) == (State.OPEN, until)


def test_a_trial_of_an_earlier_time_does_not_count_in_a_later_one() -> None:
    rule = replace(RULE, floor_millionths=1_000_000, successes=1)
    breaker = opened(rule=rule)
    old, generation = breaker.admit(rule, 2.0, 0.0), breaker.generation
    assert call(breaker, 2.1, is_ok=False, rule=rule) is Pass.TRIAL
    again = breaker.until
    assert breaker.admit(rule, again, 0.0) is Pass.TRIAL

    breaker.succeeded(rule, old, generation, again)

    assert breaker.state is State.HALF_OPEN


def test_a_trial_nobody_tells_the_end_of_makes_room_in_time() -> None:
    breaker = opened()
    breaker.admit(RULE, 2.0, 0.999)

    assert breaker.admit(RULE, 9.9, 0.999) is Pass.REFUSED
    assert breaker.admit(RULE, 10.0, 0.999) is Pass.TRIAL


def test_others_trouble_makes_the_first_failure_open_it() -> None:
    breaker = Breaker(0.0)
    breaker.suspect(10.0)

    assert call(breaker, 9.0, is_ok=True) is Pass.CALL
    assert breaker.state is State.CLOSED
    call(breaker, 9.5, is_ok=False)

    assert breaker.state is State.OPEN
    assert breaker.is_hearsay


def test_without_an_alternative_a_shaky_place_is_called_and_a_dead_one_is_not() -> None:
    rule = replace(RULE, failures=5)
    breaker = opened(rule=rule)

    def resort(*, is_ok: bool) -> Pass:
        how = breaker.admit(rule, 1.0, 0.999, last_resort=True)
        if how is Pass.RESORT and is_ok:
            breaker.succeeded(rule, how, breaker.generation, 1.0)
        elif how is Pass.RESORT:
            breaker.failed(rule, how, breaker.generation, 1.0, 0.0)
        return how

    assert [resort(is_ok=number % 2 == 0) for number in range(50)] == [Pass.RESORT] * 50
    refused = [resort(is_ok=False) for _ in range(20)].count(Pass.REFUSED)

    assert breaker.state is State.OPEN
    assert refused == 20 - 9


def load(seed: int, errors: float, seconds: float, breaker: Breaker, start: float) -> list[tuple[float, bool]]:
    """50 calls a second, each 200 ms long; when each was asked for, and whether it was let through."""
    rng = random.Random(seed)
    ends: list[tuple[float, Pass, int, bool]] = []
    seen = []
    for step in range(int(seconds * 50)):
        now = start + step / 50
        while ends and ends[0][0] <= now:
            at, how, generation, is_ok = ends.pop(0)
            if is_ok:
                breaker.succeeded(DEFAULT_BREAKER, how, generation, at)
            else:
                breaker.failed(DEFAULT_BREAKER, how, generation, at, rng.random())
        how = breaker.admit(DEFAULT_BREAKER, now, rng.random())
        seen.append((now, how is not Pass.REFUSED))
        if how is not Pass.REFUSED:
            ends.append((now + 0.2, how, breaker.generation, rng.random() >= errors))
    for _, how, generation, _ in ends:
        breaker.left(how, generation)
    return seen


@pytest.mark.parametrize("seed", range(20))
def test_load_on_a_failing_place_falls_within_10_s_and_returns_within_30_s(seed: int) -> None:
    breaker = Breaker(0.0)
    load(seed, 0.0, 20.0, breaker, 0.0)

    failing = load(seed + 100, 0.3, 60.0, breaker, 20.0)
    healed = load(seed + 200, 0.0, 60.0, breaker, 80.0)

    later = [let for now, let in failing if now >= 30.0]
    assert sum(later) / len(later) < 0.2, "the load is more than a fifth of what it was"
    again = [let for now, let in healed if now >= 110.0]
    assert all(again), "some calls are kept away 30 s after the recovery"


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ok", "fail", "leave", "forget"]),
        st.floats(0, 5),
        st.floats(0, 0.999),
    ),
    max_size=200,
)
RULES = st.builds(
    BreakerRule,
    failures=st.integers(1, 10),
    window_seconds=st.floats(1, 60),
    least_calls=st.integers(1, 50),
    most_errors_millionths=st.integers(0, 1_000_000),
    open_seconds=st.floats(0.1, 10),
    most_open_seconds=st.floats(10, 60),
    floor_millionths=st.integers(0, 1_000_000),
    successes=st.integers(1, 5),
)


@settings(max_examples=200)
@given(rule=RULES, events=EVENTS)
def test_it_is_never_stuck_open(rule: BreakerRule, events: list[tuple[str, float, float]]) -> None:
    breaker, now = Breaker(0.0), 0.0
    for what, seconds, chance in events:
        now += seconds
        how = breaker.admit(rule, now, chance)
        if how is Pass.REFUSED:
            continue
        if what == "ok":
            breaker.succeeded(rule, how, breaker.generation, now)
        elif what == "fail":
            breaker.failed(rule, how, breaker.generation, now, chance)
        elif what == "leave":
            breaker.left(how, breaker.generation)

    calls = 0
    while breaker.state is not State.CLOSED:
        now += rule.most_open_seconds * 1.001
        how = breaker.admit(rule, now, 0.999)
        assert how is Pass.TRIAL, "no trial after the longest open time"
        breaker.succeeded(rule, how, breaker.generation, now)
        calls += 1

    assert calls <= rule.successes


@settings(max_examples=200)
@given(rule=RULES, events=EVENTS)
def test_trials_are_few_at_once_and_open_times_keep_to_the_rule(
    rule: BreakerRule, events: list[tuple[str, float, float]]
) -> None:
    breaker, now = Breaker(0.0), 0.0
    open_trials: list[tuple[float, int]] = []
    before = State.CLOSED
    for what, seconds, chance in events:
        now += seconds
        how = breaker.admit(rule, now, chance)
        if how is Pass.TRIAL:
            open_trials.append((now, breaker.generation))
        if open_trials and what in {"ok", "fail", "leave"}:
            _, generation = open_trials.pop(0)
            if what == "ok":
                breaker.succeeded(rule, Pass.TRIAL, generation, now)
            elif what == "fail":
                breaker.failed(rule, Pass.TRIAL, generation, now, chance)
            else:
                breaker.left(Pass.TRIAL, generation)
        elif how is Pass.CALL:
            breaker.failed(rule, how, breaker.generation, now, chance)
        open_trials = [trial for trial in open_trials if trial[1] == breaker.generation]
        recent = [began for began, _ in open_trials if now - began < rule.most_open_seconds]
        assert len(recent) <= MOST_TRIALS + 1
        if breaker.state is State.OPEN and before is not State.OPEN:
            shortest = min(rule.open_seconds, rule.most_open_seconds) * (1 - JITTER)
            assert shortest <= breaker.until - now + 1e-9
            assert breaker.until - now <= rule.most_open_seconds + 1e-9
        before = breaker.state


@given(st.floats(0, 0.999), st.floats(0, 0.999), st.integers(0, 8))
def test_more_failed_trials_never_make_the_open_time_shorter(one: float, other: float, failed: int) -> None:
    """But for the jitter, whose share is known."""

    def length(trials: int, chance: float) -> float:
        breaker = opened()
        for _ in range(trials):
            call(breaker, breaker.until, is_ok=False, chance=chance)
        return breaker.until - breaker.since

    assert length(failed + 1, one) >= length(failed, other) * (1 - JITTER) - 1e-9


def test_a_reset_closes_it_and_forgets() -> None:
    breaker = opened()

    breaker.reset(1.0)

    assert call(breaker, 1.0, is_ok=True) is Pass.CALL
    for _ in range(RULE.failures):
        call(breaker, 1.0, is_ok=False)
    assert breaker.until - 1.0 == RULE.open_seconds
