"""Which ends an answer without one is given under a hard budget."""

from dataclasses import replace

import pytest

from tollkeeper.contracts.catalog import ModelRoute
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.applied_cap import LEAST_CAP, caps_to_try, with_cap
from tollkeeper.gateway.money.hold import Appraisal

ROUTE = ModelRoute(uuid7(), "m", ())
ENDLESS = Appraisal(10, 100, None, 2_000, output_pico=8_000, needs_cap=True)
LONG = Appraisal(10, 100, 1_000_000, 2_000, output_cap=128_000, output_pico=8_000)


def test_an_answer_without_end_is_given_the_first_and_less_where_that_is_refused() -> None:
    assert caps_to_try(ENDLESS, ROUTE, 20_000) == (20_000, 16_384, 4_096, 1_024)
    assert caps_to_try(ENDLESS, ROUTE, 4_096) == (4_096, 1_024)


@pytest.mark.parametrize(("context", "first"), [(8_192, 4_096), (1_000, LEAST_CAP), (1_000_000, 16_384)])
def test_it_leaves_room_for_the_prompt(context: int, first: int) -> None:
    assert caps_to_try(ENDLESS, replace(ROUTE, context_tokens=context), 16_384)[0] == first


def test_below_the_models_own_maximum_it_is_only_ever_less() -> None:
    assert caps_to_try(LONG, ROUTE, 16_384) == (16_384, 4_096, 1_024)
    assert caps_to_try(replace(LONG, output_cap=4_096), ROUTE, 16_384) == (1_024,)
    assert caps_to_try(replace(LONG, output_cap=1_000), ROUTE, 16_384) == ()


def test_a_callers_own_cap_and_answers_that_cost_nothing_are_left_alone() -> None:
    assert caps_to_try(replace(LONG, has_caller_cap=True), ROUTE, 16_384) == ()
    assert caps_to_try(replace(ENDLESS, output_pico=0), ROUTE, 16_384) == ()


@pytest.mark.parametrize(
    ("operation", "name"), [(Operation.CHAT, "max_completion_tokens"), (Operation.COMPLETIONS, "max_tokens")]
)
def test_the_cap_stands_in_the_call_and_beside_the_callers_own_document(operation: Operation, name: str) -> None:
    native = {"contents": []}
    call = Call(operation, "m", is_stream=False, body={"model": "m"}, dialect="other", native=native)
    capped = with_cap(call, 2_048)
    assert (capped.body[name], capped.applied_cap) == (2_048, 2_048)
    assert capped.native is (native if operation is Operation.CHAT else None)
    assert "max_completion_tokens" not in call.body
