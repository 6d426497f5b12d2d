from fractions import Fraction
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.money.records import TENANT, make_intent
from tollkeeper.contracts.catalog import EMPTY_SNAPSHOT, Adjustment, Snapshot
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.journal_format import pack_intent, unpack_intent
from tollkeeper.gateway.money.journal_replay import interruption
from tollkeeper.gateway.money.price import adjustment_of, charge_nano

costs = st.integers(0, 9_000_000 * 10**9)
adjustments = st.builds(
    Adjustment,
    id=st.just(uuid7()),
    tenant_id=st.just(TENANT),
    factor_millionths=st.integers(0, 1_000 * 10**6),
    request_nano=costs,
)


def of(factor: int, **fields: object) -> Adjustment:
    return Adjustment(uuid7(), TENANT, factor, **fields)  # type: ignore[arg-type]


@given(costs, adjustments)
def test_a_charge_is_exact_and_rounded_once_half_up(cost: int, adjustment: Adjustment) -> None:
    exact = Fraction(cost * adjustment.factor_millionths, 10**6) + adjustment.request_nano
    charge = adjustment.apply(cost)

    assert charge >= 0
    assert Fraction(-1, 2) <= exact - charge < Fraction(1, 2)


@given(costs, st.integers(0, 10**9), adjustments)
def test_what_is_held_is_never_less_than_what_is_charged(cost: int, less: int, adjustment: Adjustment) -> None:
    held = adjustment.apply_up(cost)

    assert held >= adjustment.apply(max(0, cost - less))
    assert held - adjustment.apply(cost) <= 1


@given(st.integers(0, 10**12), st.integers(0, 10**6), adjustments)
def test_the_charge_of_tokens_one_by_one_covers_their_charge_together(
    pico: int, tokens: int, adjustment: Adjustment
) -> None:
    assert adjustment.scale_pico(pico) * tokens >= pico * tokens * adjustment.factor_millionths // 10**6


def test_known_charges() -> None:
    assert of(1_200_000).apply(19_800) == 23_760
    assert of(850_000).apply(19_801) == 16_831
    assert of(500_000).apply(1) == 1
    assert of(499_999).apply(1) == 0
    assert of(499_999).apply_up(1) == 1
    assert of(1_000_000, request_nano=100_000).apply(0) == 100_000
    assert of(0).apply(10**15) == 0


def test_unpriced_stays_unpriced_and_what_costs_nothing_is_not_charged() -> None:
    dear = of(2_000_000, request_nano=5)

    assert charge_nano(None, dear) is None
    assert charge_nano(0, dear, may_cost=False) == 0
    assert charge_nano(7, None) == 7
    assert charge_nano(7, dear) == 19


@pytest.mark.parametrize(
    ("provider", "model", "is_covered"),
    [
        (None, None, True),
        ("openai", None, True),
        ("azure", None, False),
        (None, "gpt-4o", True),
        (None, "gpt-4", False),
        (None, "gpt-*", True),
        (None, "*", True),
        (None, "claude-*", False),
        ("openai", "gpt-4o*", True),
        ("azure", "gpt-4o", False),
    ],
)
def test_which_calls_an_adjustment_covers(provider: str | None, model: str | None, is_covered: bool) -> None:
    assert of(1, provider=provider, model=model).covers("openai", "gpt-4o") is is_covered


def test_the_first_of_the_tenant_that_covers_a_call_holds() -> None:
    narrow, wide = of(900_000, provider="openai", model="gpt-4o"), of(1_100_000)
    snapshot = Snapshot(1, {}, {}, adjustments=MappingProxyType({TENANT: (narrow, wide)}))

    assert adjustment_of(snapshot, TENANT, "openai", "gpt-4o") is narrow
    assert adjustment_of(snapshot, TENANT, "openai", "o3") is wide
    assert adjustment_of(snapshot, uuid7(), "openai", "gpt-4o") is None
    assert adjustment_of(EMPTY_SNAPSHOT, TENANT, "openai", "gpt-4o") is None


def test_an_interrupted_call_is_charged_what_the_tenant_would_have_been() -> None:
    kept = unpack_intent(pack_intent(make_intent(estimated_cost_nano=1_800, estimated_charge_nano=2_160)))
    row = interruption(kept)

    assert (row.cost_nano, row.charge_nano) == (1_800, 2_160)
    assert interruption(make_intent(estimated_cost_nano=1_800)).charge_nano == 1_800
