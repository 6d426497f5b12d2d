import time

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.gateway.money.estimate import (
    IMAGE_TOKENS,
    bound_input_tokens,
    estimate_input_tokens,
    estimate_output_tokens,
    estimate_usage,
    survey,
)
from tollkeeper.gateway.money.survey import Survey


def call_of(body: dict, *, is_changed: bool = False) -> Call:
    raw = None if is_changed else orjson.dumps(body)
    return Call(Operation.CHAT, model="m", is_stream=False, body=body, raw=raw)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_bound_is_never_below_one_token_per_byte_of_text(text: str) -> None:
    call = call_of({"messages": [{"role": "user", "content": text}]})

    assert bound_input_tokens(call) >= len(text.encode())


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_the_estimate_never_exceeds_the_bound(text: str, is_changed: bool) -> None:
    call = call_of({"messages": [{"role": "user", "content": text}]}, is_changed=is_changed)

    assert 0 < estimate_input_tokens(call) <= bound_input_tokens(call)


def test_a_picture_counts_the_same_whatever_its_size() -> None:
    def call(size: int) -> Call:
        url = "data:image/png;base64," + "A" * size
        return call_of({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]})

    assert estimate_input_tokens(call(100)) == estimate_input_tokens(call(1_000_000))
    assert estimate_input_tokens(call(100)) >= IMAGE_TOKENS


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


def bound(body: dict, operation: Operation = Operation.CHAT) -> int:
    return bound_input_tokens(Call(operation, model="m", is_stream=False, body=body, raw=orjson.dumps(body)))


HIDING_PLACES = {
    "tools": {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"enum": ["TEXT"]}}}]},
    "functions": {"functions": [{"name": "f", "description": "TEXT"}]},
    "response_format": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "description": "TEXT"}}
    },
    "tool result": {"messages": [{"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "TEXT"}]}]},
    "tool call": {
        "messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "TEXT"}}]}]
    },
    "prediction": {"prediction": {"type": "content", "content": "TEXT"}},
    "beside a picture": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image_url", "text": "TEXT", "image_url": {"url": "https://a.example/b.png"}}],
            }
        ]
    },
    "a field nobody knows": {"documents": [{"text": "TEXT"}]},
}


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_text_is_bounded_wherever_it_hides(place: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **HIDING_PLACES[place]}
    long = orjson.loads(orjson.dumps(body).replace(b"TEXT", b"word " * 10_000))

    assert bound(long) - bound(body) >= 50_000 - len("TEXT")


@pytest.mark.parametrize(
    ("value", "ids"),
    [([1, 22, 333], 3), ([[1, 22], [333, 4, 5]], 5), ([100_000] * 2_000, 2_000)],
)
def test_a_token_id_is_one_token(value: list, ids: int) -> None:
    for operation, name in ((Operation.EMBEDDINGS, "input"), (Operation.COMPLETIONS, "prompt")):
        with_ids, without = bound({"model": "m", name: value}, operation), bound({"model": "m"}, operation)

        assert ids <= with_ids - without <= ids + 20


def test_lists_that_mix_texts_and_ids_are_bounded_by_their_bytes() -> None:
    text = "word " * 100

    assert bound({"model": "m", "input": [[1, 2], text]}, Operation.EMBEDDINGS) >= len(text)
    assert bound({"model": "m", "input": [[1, text]]}, Operation.EMBEDDINGS) >= len(text)


def test_base64_that_stands_where_text_does_is_text() -> None:
    data = "A" * 10_000
    for part in (
        {"type": "text", "text": "Hi", "image_url": {"url": data}},
        {"type": "text", "text": data, "data": data},
    ):
        assert bound({"model": "m", "messages": [{"role": "user", "content": [part]}]}) >= 10_000


def seen(**fields: object) -> Survey:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return survey(Call(Operation.CHAT, model="m", is_stream=False, body=body, raw=orjson.dumps(body)))


def of_part(part: object) -> Survey:
    return seen(messages=[{"role": "user", "content": [part]}])


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64," + "A" * 100}},
        {"type": "video_url", "video_url": {"url": "https://a.example/b.mp4"}},
        {"type": "input_audio", "input_audio": {"data": "https://a.example/b.wav", "format": "wav"}},
        {"image": "AAAA"},
    ],
)
def test_what_only_the_vendor_can_read_is_told(part: dict) -> None:
    assert of_part(part).unseen is not None


def test_text_and_pictures_can_be_seen() -> None:
    for part in (
        "plain",
        {"type": "text", "text": "Hi"},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        {"type": "tool_result", "content": [{"type": "text", "text": "Hi"}]},
    ):
        assert of_part(part).unseen is None
        assert of_part(part).open_cost is None


@pytest.mark.parametrize(
    "fields",
    [
        {"web_search_options": {}},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"google_search": {}}]},
        {"search_parameters": {"mode": "on"}},
        {"plugins": [{"id": "web"}]},
        {"models": ["a", "b"]},
    ],
)
def test_what_a_vendor_does_by_itself_is_told(fields: dict) -> None:
    assert seen(**fields).open_cost is not None


@pytest.mark.parametrize("kind", ["bash_20250124", "text_editor_20250728", "computer_toolset_20260801"])
def test_tool_that_the_caller_runs_costs_only_what_its_definition_takes(kind: str) -> None:
    found = seen(tools=[{"type": kind, "name": "x"}])

    assert (found.open_cost, found.unseen is not None, found.has_tools) == (None, True, True)


def test_what_only_the_callers_own_document_says_is_counted() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    native = {**body, "future": "x" * 1_000}
    call = Call(Operation.CHAT, "m", is_stream=False, body=body, native=native, unexpressed=("future",))

    assert survey(call).text_bytes > 1_000


def test_what_is_left_out_is_not_told() -> None:
    calm = seen(web_search_options=None, enable_search=False, previous_response_id=None, tools=[{"type": "function"}])

    assert (calm.open_cost, calm.unseen) == (None, None)
    assert seen(previous_response_id="resp_1").unseen is not None
    assert seen(messages=[{"role": "assistant", "audio": {"id": "audio_1"}}]).unseen is not None
