"""The order of targets."""

import pytest

from tests.gateway.serving import provider, route, snapshot
from tollkeeper.contracts.routing import Target
from tollkeeper.gateway.routing.plan import plan

SNAP = snapshot([provider(name, None) for name in "abc"], [])


def test_priority_keeps_the_order_and_leaves_out_the_unknown() -> None:
    ordered = plan(route("m", ("a", "1"), ("x", "2"), ("c", "3")), SNAP, None, 0.0)
    assert ordered == (Target("a", "1"), Target("c", "3"))


def test_providers_that_are_not_allowed_are_left_out() -> None:
    assert plan(route("m", ("a", "1"), ("b", "2")), SNAP, frozenset({"b*"}), 0.0) == (Target("b", "2"),)


@pytest.mark.parametrize(("share", "first"), [(0.0, "a"), (0.09, "a"), (0.11, "b"), (0.99, "b")])
def test_weights_share_the_calls(share: float, first: str) -> None:
    made = route("m", strategy="weighted")
    weighted = (Target("a", "1", weight=1), Target("b", "2", weight=9))
    ordered = plan(type(made)(id=made.id, name="m", targets=weighted, strategy="weighted"), SNAP, None, share)
    assert ordered[0].provider == first
    assert len(ordered) == 2
