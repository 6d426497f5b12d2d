"""Good documents with one thing in them exchanged: nothing but named errors may come of it, in both directions."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.anthropic import wire
from tests.gateway.anthropic.vendor_calls import CONFIG, calling, function, result, user
from tollkeeper.contracts.chat import Chunk
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.dialects.anthropic_messages import AnthropicVendor
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.providers.anthropic import Anthropic

THOUGHT = {"type": "reasoning.text", "text": "t", "signature": "s", "format": "anthropic", "index": 0}
REQUEST: dict[str, Any] = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 9,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 3,
    "stop": ["a"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "user": "u",
    "service_tier": "auto",
    "metadata": {"user_id": "x"},
    "reasoning_effort": "high",
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "low"},
    "parallel_tool_calls": False,
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function("a")]}},
    "tools": [function("a", strict=True, parameters={"type": "object", "properties": {"x": {"type": "array", "minItems": 2}}})],
    "response_format": {
        "type": "json_schema",
        "json_schema": {"schema": {"anyOf": [{"type": "string", "format": "date"}], "$defs": {"d": {"enum": [1]}}}},
    },
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]},
        user([{"type": "text", "text": "t", "title": "T"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]),
        calling("a", reasoning_details=[THOUGHT], content=[{"type": "refusal", "refusal": "no"}]),
        result("call_0", [{"type": "text", "text": "r"}], is_error=True),
        user([{"type": "file", "file": {"file_data": "data:text/plain;base64,aGk=", "filename": "f"}}]),
        {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "n", "input": {}}]},
        user([{"type": "tool_result", "tool_use_id": "x", "content": "y"}]),
    ],
}  # fmt: skip
MESSAGE = wire.message(
    {"type": "thinking", "thinking": "t", "signature": "s"},
    {"type": "redacted_thinking", "data": "d"},
    wire.text("x", citations=[{"url": "u", "title": "t"}]),
    wire.tool("f", a=1),
    stop_details={"type": "refusal", "explanation": "e"},
)
EVENTS: list[Any] = [
    json.loads(line[6:])
    for line in wire.stream(wire.thinking_block(0, "t"), wire.text_block(1, "x"), wire.tool_block(2, "f", "{}")).split(
        b"\n"
    )
    if line.startswith(b"data: ")
]
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**15,
    "",
    "x",
    "data:,",
    [],
    [None],
    [[]],
    {},
    {"type": "x"},
    {"type": []},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from places(inner, (*path, key))


def exchanged(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


MODELS = st.sampled_from(
    ["claude-sonnet-4-6", "claude-3-7-sonnet-20250219", "claude-opus-5-5", "claude-3-5-haiku-20241022"]
)


@given(path=st.sampled_from(list(places(REQUEST))), value=st.sampled_from(VALUES), model=MODELS)
def test_request_is_written_or_refused_in_words(path: tuple[Any, ...], value: Any, model: str) -> None:
    body = exchanged(REQUEST, path, value)
    try:
        call = OpenAIChat().read_call(json.dumps(body).encode(), {}, "")
        sent = AnthropicVendor().write_call(Anthropic().prepare(CONFIG, call, Target("claude", model)))
    except BadRequest:
        return
    assert json.loads(sent)["model"] == model


@given(path=st.sampled_from(list(places(MESSAGE))), value=st.sampled_from(VALUES))
def test_answer_is_read_or_named_garbage(path: tuple[Any, ...], value: Any) -> None:
    body = json.dumps(exchanged(MESSAGE, path, value)).encode()
    call = OpenAIChat().read_call(json.dumps(REQUEST).encode(), {}, "")
    try:
        chunk = AnthropicVendor().read_whole(body, call)
    except UpstreamError:
        return
    assert json.dumps(chunk.data)


@given(path=st.sampled_from([p for p in places(EVENTS) if len(p) > 1]), value=st.sampled_from(VALUES))
async def test_stream_is_read_or_named_garbage(path: tuple[Any, ...], value: Any) -> None:
    data = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in exchanged(EVENTS, path, value))
    call = OpenAIChat().read_call(json.dumps(REQUEST).encode(), {}, "")
    chunks: list[Chunk] = []
    try:
        async for batch in AnthropicVendor().read_stream(wire.in_pieces(data, 100), call):
            chunks += batch
    except UpstreamError:
        return
    assert chunks[-1].is_final
    assert all(json.dumps(chunk.data) for chunk in chunks)
