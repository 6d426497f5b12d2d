import time

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.gateway.money.estimate import (
    IMAGE_TOKENS,
    bound_input_tokens,
    estimate_input_tokens,
    estimate_output_tokens,
    estimate_usage,
)


def call_of(body: dict, *, is_changed: bool = False) -> Call:
    raw = None if is_changed else orjson.dumps(body)
    return Call(Operation.CHAT, model="m", is_stream=False, body=body, raw=raw)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_bound_is_never_below_one_token_per_byte_of_text(text: str) -> None:
    call = call_of({"messages": [{"role": "user", "content": text}]})

    assert bound_input_tokens(call) >= len(text.encode())


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_the_estimate_never_exceeds_the_bound(text: str, is_changed: bool) -> None:
    call = call_of({"messages": [{"role": "user", "content": text}]}, is_changed=is_changed)

    assert 0 < estimate_input_tokens(call) <= bound_input_tokens(call)


def test_a_picture_counts_the_same_whatever_its_size() -> None:
    def call(size: int) -> Call:
        url = "data:image/png;base64," + "A" * size
        return call_of({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]})

    assert estimate_input_tokens(call(10)) == estimate_input_tokens(call(1_000_000))
    assert estimate_input_tokens(call(10)) >= IMAGE_TOKENS


def test_strange_bodies_are_estimated_too() -> None:
    for messages in (None, "x", [None], [{"content": [None, "x", {"type": "image_url", "image_url": 3}]}]):
        assert estimate_input_tokens(call_of({"messages": messages})) > 0


def test_an_output_without_usage_is_flagged() -> None:
    usage = estimate_usage(12, 401)

    assert (usage.input, usage.output, usage.is_estimated) == (12, 101, True)
    assert estimate_output_tokens(0) == 0


def test_a_large_body_costs_next_to_nothing() -> None:
    call = call_of({"messages": [{"role": "user", "content": "x" * 1_000_000}]})
    fastest = min(_seconds(call) for _ in range(5))

    assert fastest < 0.000_2


def _seconds(call: Call) -> float:
    started = time.perf_counter()
    estimate_input_tokens(call)
    return time.perf_counter() - started
