"""What holds of every decision, whatever the tree, the call and the health of the targets."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.routing.deciding import Told, chat, decided, facts, fork
from tollkeeper.contracts.routing import Branch, Condition, Fork, Strategy, Target
from tollkeeper.gateway.routing.health import Standing
from tollkeeper.gateway.routing.order import Draws, Group, by_hash, by_weight
from tollkeeper.gateway.routing.plan import targets_of

# The machine may be busy with other tests.
_UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
_SHARES = st.floats(0, 1, exclude_max=True)
_TARGETS = st.builds(
    Target,
    provider=st.sampled_from("abcdefghijxyz"),
    model=st.sampled_from(["m", "n"]),
    context_tokens=st.none() | st.integers(1, 3_000),
    lacks=st.sampled_from([frozenset(), frozenset({"tools"})]),
)
_WHEN = st.none() | st.builds(Condition, max_input_tokens=st.integers(1, 3_000))


def _forks(children: st.SearchStrategy[Target | Fork]) -> st.SearchStrategy[Fork]:
    branches = st.builds(Branch, to=children, weight=st.integers(0, 9), when=_WHEN)
    many = st.sampled_from([one for one in Strategy if one is not Strategy.CANARY])
    plain = st.tuples(many, st.lists(branches, min_size=1, max_size=5))
    canary = st.tuples(st.just(Strategy.CANARY), st.lists(branches, min_size=2, max_size=2))
    return (plain | canary).map(lambda made: fork(made[0], *made[1]))


_TREES = st.recursive(_TARGETS, _forks, max_leaves=20).map(
    lambda tree: tree if isinstance(tree, Fork) else fork(Strategy.PRIORITY, tree)
)
_STANDINGS = st.builds(
    Standing,
    latency_seconds=st.none() | st.floats(0, 9),
    in_flight=st.integers(0, 9),
    blocked_until=st.sampled_from([0.0, 5.0]),
    cache_read_share=st.floats(0, 1),
)
_VIEWS = st.builds(Told, st.dictionaries(st.sampled_from("abcdefghij"), _STANDINGS), st.booleans())
_CALLS = st.sampled_from([chat("a", "b"), chat("a", "b", tools=[{"type": "function"}])])


@_UNHURRIED
@given(tree=_TREES, view=_VIEWS, call=_CALLS, share=_SHARES, tokens=st.integers(0, 4_000))
def test_every_target_is_tried_once_or_left_out_with_a_reason(
    tree: Fork, view: Told, call: object, share: float, tokens: int
) -> None:
    what = facts(call, share=share, tokens=tokens, now=1.0)  # type: ignore[arg-type]
    made = decided(tree, what, view)
    tried = [(one.provider, one.model) for one in made.targets]
    left = {(one.target.provider, one.target.model) for one in made.left_out}
    assert len(tried) == len(set(tried))
    assert set(tried).isdisjoint(left)
    assert set(tried) | left == {(one.provider, one.model) for one in targets_of(tree)}
    assert all(one.reason for one in made.left_out)
    blocked = [view.standing(one.provider, one.model, 1.0).blocked_until > 1.0 for one in made.targets]
    assert blocked == sorted(blocked)


@_UNHURRIED
@given(tree=_TREES, view=_VIEWS, call=_CALLS, share=_SHARES)
def test_the_same_facts_make_the_same_decision(tree: Fork, view: Told, call: object, share: float) -> None:
    who = facts().principal
    one, other = (facts(call, share=share) for _ in range(2))  # type: ignore[arg-type]
    one.principal = other.principal = who
    assert decided(tree, one, view) == decided(tree, other, view)


def _groups(weights: list[int]) -> list[Group]:
    made = [Target(f"p{number}", "m") for number in range(len(weights))]
    return [
        (position, weight, [target], Branch(target, weight))
        for position, (target, weight) in enumerate(zip(made, weights, strict=True))
    ]


@pytest.mark.parametrize("weights", [[1, 1], [1, 9], [5, 3, 2], [0, 1, 3], [1] * 10])
def test_weights_are_shares_of_the_calls_and_of_what_stands_in(weights: list[int]) -> None:
    rounds = 4_000
    firsts: Counter[int] = Counter()
    seconds: Counter[int] = Counter()
    for number in range(rounds):
        ordered = by_weight(_groups(weights), Draws((number + 0.5) / rounds))
        firsts[ordered[0][0]] += 1
        seconds[ordered[1][0]] += 1
    total = sum(weights)
    for position, weight in enumerate(weights):
        assert abs(firsts[position] / rounds - weight / total) < 0.01
        others = [(other, mass) for other, mass in enumerate(weights) if other != position]
        expected = sum(mass / total * weight / (total - mass) for _, mass in others if total > mass)
        if weight:
            assert abs(seconds[position] / rounds - expected) < 0.03


@_UNHURRIED
@given(
    weights=st.lists(st.integers(1, 9), min_size=2, max_size=8),
    calls=st.lists(st.integers(0, 2**64 - 1), min_size=20, max_size=20, unique=True),
    gone=st.integers(0, 7),
)
def test_a_branch_that_goes_moves_only_its_own_calls(weights: list[int], calls: list[int], gone: int) -> None:
    groups = _groups(weights)
    gone %= len(groups)
    rest = [group for group in groups if group[0] != gone]
    for call in calls:
        before = [group[0] for group in by_hash(groups, call)]
        assert [group[0] for group in by_hash(rest, call)] == [one for one in before if one != gone]


@_UNHURRIED
@given(
    weights=st.lists(st.integers(1, 9), min_size=2, max_size=8),
    calls=st.lists(st.integers(0, 2**64 - 1), min_size=20, max_size=20, unique=True),
)
def test_a_branch_that_grows_only_wins_calls(weights: list[int], calls: list[int]) -> None:
    larger = [weights[0] + 5, *weights[1:]]
    for call in calls:
        before, after = by_hash(_groups(weights), call)[0][0], by_hash(_groups(larger), call)[0][0]
        assert after in (0, before)


def test_rendezvous_shares_calls_by_weight() -> None:
    firsts = Counter(by_hash(_groups([1, 2, 5]), call * 0x9E3779B97F4A7C15)[0][0] for call in range(8_000))
    for position, weight in enumerate([1, 2, 5]):
        assert abs(firsts[position] / 8_000 - weight / 8) < 0.02
