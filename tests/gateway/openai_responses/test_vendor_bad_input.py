"""Anything may stand anywhere: in what callers send on to the Responses API, and in what its vendors answer."""

import copy
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.openai_responses.responses_payloads import (
    call_events,
    function_call,
    message,
    response,
    text_events,
)
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.dialects.openai_responses import OpenAIResponsesVendor

VENDOR = OpenAIResponsesVendor(lambda _: True)
ODD = st.sampled_from([None, True, 0, -1, 1.5, "", "x", "null", [], [1], [None], {}, {"type": "x"}, {"a": {"b": []}}])
REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Hm."}],
    "content": [{"type": "reasoning_text", "text": "Hm."}],
    "encrypted_content": "gAAA",
}
CUSTOM = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "sh", "input": "ls"}
CITED = message("Hi", content=[{"type": "output_text", "text": "Hi", "annotations": [{"type": "url_citation"}]}])
WHOLE = response([REASONING, CITED, function_call(), CUSTOM], incomplete_details={"reason": "x"}, service_tier="flex")
EVENTS = [
    *text_events("Hi", "!")[:-1],
    {"type": "response.output_item.done", "output_index": 3, "item": REASONING},
    {"type": "response.output_item.added", "output_index": 4, "item": CUSTOM},
    {"type": "response.custom_tool_call_input.delta", "output_index": 4, "item_id": "ctc_1", "delta": "ls"},
    *call_events('{"a":', "1}")[1:-1],
    {"type": "response.completed", "response": WHOLE},
]
CHAT = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "S"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "T", "title": "t"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
                {"type": "file", "file": {"file_data": "data:;base64,", "filename": "a"}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "A"}, {"type": "refusal", "refusal": "R"}],
            "reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "format": "openai", "id": "rs_1"}],
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "2", "type": "custom", "custom": {"name": "c", "input": "i"}},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "1", "is_error": True},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {}}},
        {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar", "grammar": {"syntax": "lark"}}}},
    ],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function"}]}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n"}},
    "web_search_options": {"user_location": {"approximate": {"city": "x"}}, "search_context_size": "low"},
    "reasoning_effort": "low",
    "reasoning": {"summary": "auto"},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "verbosity": "low",
    "logprobs": True,
    "modalities": ["text"],
    "n": 1,
    "max_tokens": 5,
    "store": True,
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in pairs:
        yield from places(inner, (*path, name))


def changed(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    copied = copy.deepcopy(value)
    *outer, last = path
    inner = copied
    for step in outer:
        inner = inner[step]
    if odd == "x" and isinstance(inner, dict):
        del inner[last]
    else:
        inner[last] = odd
    return copied


def asked(*, is_native: bool = False) -> Call:
    call = Call(Operation.CHAT, "m", is_stream=True, body={"model": "m", "messages": []})
    if is_native:
        call.dialect, call.native = "openai_responses", {}
    return call


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(list(places(WHOLE))), ODD)
def test_whole_answer_of_any_shape_is_an_answer_or_a_named_error(path: tuple[Any, ...], odd: Any) -> None:
    body = json.dumps(changed(WHOLE, path, odd)).encode()
    with suppress(UpstreamError):
        orjson.dumps(VENDOR.read_whole(body, asked(is_native=True)).data)


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(list(places(EVENTS))), ODD, st.booleans())
async def test_stream_of_any_shape_is_read_or_a_named_error(path: tuple[Any, ...], odd: Any, is_native: bool) -> None:
    async def reads() -> AsyncIterator[bytes]:
        for number, one in enumerate(changed(EVENTS, path, odd)):
            told = {"sequence_number": number, **one} if isinstance(one, dict) else one
            yield b"data: " + json.dumps(told).encode() + b"\n\n"

    with suppress(UpstreamError):
        async for batch in VENDOR.read_stream(reads(), asked(is_native=is_native)):
            for chunk in batch:
                orjson.dumps(chunk.data)
                assert isinstance(chunk.text_length, int)


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(list(places(CHAT))), ODD)
def test_chat_call_of_any_shape_is_written_or_refused(path: tuple[Any, ...], odd: Any) -> None:
    body = json.dumps(changed(CHAT, path, odd)).encode()
    with suppress(BadRequest):
        VENDOR.write_call(OpenAIChat().read_call(body, {}, ""))
