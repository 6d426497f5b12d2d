"""A storm of retries never exceeds its budget, whatever the order of sends, repeats and seconds."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.gateway.routing.retry_budget import FREE_EVERY_SECONDS, FREE_REPEATS, MOST_SAVED, RetryBudget

STEPS = st.lists(st.one_of(st.just("send"), st.just("repeat"), st.floats(0.001, 30)), max_size=400)


@settings(max_examples=300)
@given(share=st.integers(0, 1_000_000), steps=STEPS)
def test_repeats_never_exceed_the_share_of_the_sends_and_the_floor(share: int, steps: list[str | float]) -> None:
    budget, now = RetryBudget(0.0), 0.0
    sends = repeats = 0
    for step in steps:
        if isinstance(step, float):
            now += step
        elif step == "send":
            budget.sent(share)
            sends += 1
        else:
            repeats += budget.may_repeat(now)

        assert repeats * 1_000_000 <= share * sends + 1_000_000 * (FREE_REPEATS + now / FREE_EVERY_SECONDS + 1e-6)


def test_a_provider_that_always_fails_gets_a_tenth_more_sends() -> None:
    budget = RetryBudget(0.0)

    for number in range(10_000):
        budget.sent(100_000)
        budget.may_repeat(number / 1_000)

    assert budget.repeats <= 1_000 + FREE_REPEATS + 1
    assert budget.repeats >= 990


def test_quiet_hours_do_not_save_up_for_a_storm() -> None:
    budget = RetryBudget(0.0)
    for _ in range(100_000):
        budget.sent(100_000)

    repeats = sum(budget.may_repeat(3_600.0) for _ in range(1_000))

    assert repeats == MOST_SAVED + FREE_REPEATS


def test_a_call_in_a_quiet_hour_may_be_repeated() -> None:
    budget = RetryBudget(0.0)
    assert [budget.may_repeat(0.0) for _ in range(4)] == [True, True, True, False]

    assert budget.may_repeat(10.0)
    assert not budget.may_repeat(10.0)
    assert budget.refused == 2
