"""Streams in whatever order vendors write them, and wherever somebody begins to change them: the content stays the same."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.anthropic.callers import END, Json, blocks_of, delta, events_of, fragment, message, read, written
from tollkeeper.contracts.chat import Chunk
from tollkeeper.gateway.dialects.anthropic_messages import AnthropicVendor

ARGUMENTS = st.dictionaries(
    st.text(max_size=4), st.text(max_size=4) | st.integers() | st.lists(st.booleans()), max_size=3
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[Chunk], list[Json], str]:
    """Calls of tools cut into pieces and shuffled, each in its own order, with texts anywhere between."""
    inputs = draw(st.lists(ARGUMENTS, max_size=4))
    rows: list[list[Json]] = []
    for number, given_input in enumerate(inputs):
        whole = json.dumps(given_input)
        cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=4)))
        pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        first = fragment(number, pieces[0], call_id=f"call_{number}", name=f"tool_{number}")
        rows.append([{"tool_calls": [first]}, *({"tool_calls": [fragment(number, piece)]} for piece in pieces[1:])])
    words = draw(st.lists(st.text(min_size=1, max_size=5), max_size=4))
    rows.append([{"content": word} for word in words])
    deltas = []
    while any(rows):
        row = draw(st.sampled_from([row for row in rows if row]))
        deltas.append(row.pop(0))
    return [*map(delta, deltas), delta({}, "stop"), END], inputs, "".join(words)


@settings(max_examples=300, deadline=None)
@given(answers(), st.booleans())
def test_pieces_of_calls_in_any_order_are_whole_calls(
    answer: tuple[list[Chunk], list[Json], str], at_once: bool
) -> None:
    chunks, inputs, words = answer
    blocks = blocks_of(events_of(written(chunks, at_once=at_once)))
    calls = {block["id"]: block["input"] for block in blocks if block["type"] == "tool_use"}
    assert calls == {f"call_{number}": given_input for number, given_input in enumerate(inputs)}
    assert "".join(block["text"] for block in blocks if block["type"] == "text") == words
    assert all(block.get("text") for block in blocks if block["type"] == "text")


def frame(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, separators=(',', ':'))}\n\n".encode()


def block(index: int, start: Json, *deltas: Json) -> list[bytes]:
    return [
        frame("content_block_start", index=index, content_block=start),
        *(frame("content_block_delta", index=index, delta=change) for change in deltas),
        frame("content_block_stop", index=index),
    ]


FRAMES = [
    frame(
        "message_start",
        message={"id": "msg_1", "type": "message", "model": "m", "usage": {"input_tokens": 5, "output_tokens": 1}},
    ),
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Hm"},
        {"type": "thinking_delta", "thinking": "."},
        {"type": "signature_delta", "signature": "s"},
    ),
    *block(1, {"type": "redacted_thinking", "data": "d"}),
    *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "He"}, {"type": "text_delta", "text": "y"}),
    *block(
        3,
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"x":'},
        {"type": "input_json_delta", "partial_json": "1}"},
    ),
    *block(4, {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}}),
    frame("ping"),
    frame("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 9}),
    frame("message_stop"),
]
CONTENT = [
    {"type": "thinking", "thinking": "Hm.", "signature": "s"},
    {"type": "redacted_thinking", "data": "d"},
    {"type": "text", "text": "Hey"},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}},
    {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
]


async def chunks_of(frames: Sequence[bytes]) -> list[Chunk]:
    async def reads() -> AsyncIterator[bytes]:
        for data in frames:
            yield data

    batches = AnthropicVendor().read_stream(reads(), read(message(stream=True)))
    return [chunk async for batch in batches for chunk in batch]


@pytest.mark.parametrize("kept", range(len(FRAMES) + 1))
async def test_relayed_stream_that_is_changed_from_any_event_on_has_the_same_content(kept: int) -> None:
    chunks = await chunks_of(FRAMES)
    changed = [chunk if position < kept else replace(chunk, native=None) for position, chunk in enumerate(chunks)]
    events = [event for event in events_of(written(changed)) if event["type"] != "ping"]
    blocks = blocks_of(events)
    # A call of no arguments has them in no event, where it is relayed.
    assert [{**found, "input": found.get("input", {})} if "id" in found else found for found in blocks] == CONTENT
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    assert events[-2]["usage"]["output_tokens"] == 9
