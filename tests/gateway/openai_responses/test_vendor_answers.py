"""The Responses API at a vendor's end: whole answers and streams, relayed to its own callers and read for all others."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from tests.gateway.openai_responses.responses_payloads import (
    call_events,
    frame,
    function_call,
    llama_events,
    message,
    numbered,
    response,
    text_events,
)
from tollkeeper.contracts.chat import Call, Chunk, Operation, Usage
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.assemble import assemble
from tollkeeper.gateway.dialects.openai_responses import OpenAIResponsesVendor

VENDOR = OpenAIResponsesVendor()


def asked(*, is_native: bool = False, wants_usage: bool = False) -> Call:
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hi"}]}
    call = Call(Operation.CHAT, "gpt-4.1", is_stream=True, body=body, wants_usage=wants_usage)
    if is_native:
        call.dialect, call.native = "openai_responses", {"model": "gpt-4.1", "input": "Hi"}
    return call


async def read(pieces: Sequence[bytes], call: Call) -> list[Chunk]:
    async def reads() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return [chunk async for batch in VENDOR.read_stream(reads(), call) for chunk in batch]


async def fails(pieces: Sequence[bytes], call: Call) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await read(pieces, call)
    return caught.value


def deltas(chunks: Sequence[Chunk]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks for choice in chunk.data.get("choices") or () if choice["delta"]]


def cut_up(data: bytes, size: int = 17) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


# Whole answers


def test_whole_answer_becomes_a_completion_with_disjoint_usage() -> None:
    body = json.dumps(response([message("Hello!")])).encode()
    chunk = VENDOR.read_whole(body, asked())
    assert chunk.data["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello!", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert chunk.data["object"] == "chat.completion"
    assert chunk.usage == Usage(input=30, cache_read=7, output=7, reasoning=4)
    assert chunk.data["usage"]["total_tokens"] == 48
    assert chunk.native is None
    assert chunk.is_final


def test_whole_answer_is_relayed_as_it_came_to_a_caller_of_the_same_dialect() -> None:
    body = json.dumps(response([message("Hello!")], vendor_field={"a": 1})).encode()
    chunk = VENDOR.read_whole(body, asked(is_native=True))
    assert chunk.native == body
    assert chunk.data["choices"][0]["message"]["content"] == "Hello!"


def test_tool_calls_are_told_by_their_call_id() -> None:
    custom = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "sh", "input": "ls"}
    chunk = VENDOR.read_whole(json.dumps(response([function_call(), custom])).encode(), asked())
    choice = chunk.data["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {
            "id": "call_unLAR8MvFNptuiZK6K6HCy5k",
            "type": "function",
            "function": {"name": "get_current_weather", "arguments": '{"location":"Boston"}'},
        },
        {"id": "call_2", "type": "custom", "custom": {"name": "sh", "input": "ls"}},
    ]


def test_reasoning_can_be_sent_back_by_its_encrypted_part() -> None:
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
        "encrypted_content": "gAAA",
    }
    found = VENDOR.read_whole(json.dumps(response([thought, message("Done")])).encode(), asked())
    said = found.data["choices"][0]["message"]
    assert said["reasoning_content"] == "One.\n\nTwo."
    assert [detail["type"] for detail in said["reasoning_details"]] == [
        "reasoning.summary", "reasoning.summary", "reasoning.encrypted",
    ]  # fmt: skip
    call = asked()
    call.body = {**call.body, "messages": [*call.body["messages"], said, {"role": "user", "content": "Go on"}]}
    sent = json.loads(VENDOR.write_call(call))["input"]
    assert sent[1] == thought
    assert sent[2] == {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Done", "annotations": []}],
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
    ],
)
def test_answer_that_was_not_completed_says_why(fields: dict[str, Any], reason: str) -> None:
    chunk = VENDOR.read_whole(json.dumps(response([message("Hel")], **fields)).encode(), asked())
    assert chunk.data["choices"][0]["finish_reason"] == reason


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<html>", "upstream_garbage"),
        (b"[]", "upstream_garbage"),
        (b"{}", "upstream_garbage"),
        (b'{"output":"none"}', "upstream_garbage"),
        (b'{"output":["none"]}', "upstream_garbage"),
        (b'{"object":"response","status":["x"],"output":{}}', "upstream_garbage"),
        (json.dumps(response(status="queued")).encode(), "upstream_garbage"),
        (json.dumps(response(status="failed", error={"code": "server_error", "message": "Oh."})).encode(), "server_error"),
        (json.dumps(response(status="failed", error=None)).encode(), "upstream_error"),
        (b'{"error":{"message":"Busy.","type":"overloaded","code":"busy"}}', "busy"),
        (b'{"error":{"message":"You exceeded your quota","code":"insufficient_quota"}}', "upstream_quota"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_a_named_error(body: bytes, code: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        VENDOR.read_whole(body, asked())
    assert caught.value.code == code


# Streams


async def test_stream_becomes_chat_chunks_however_it_is_cut_up() -> None:
    frames = numbered(text_events("Hi", " there", "!"))
    at_once = await read([b"".join(frames)], asked(wants_usage=True))
    in_pieces = await read(cut_up(b"".join(frames)), asked(wants_usage=True))
    for chunks in (at_once, in_pieces):
        assert deltas(chunks)[0]["role"] == "assistant"
        assert "".join(delta.get("content") or "" for delta in deltas(chunks)) == "Hi there!"
        assert chunks[-1].is_final
        assert chunks[-2].usage == Usage(input=30, cache_read=7, output=7, reasoning=4)
        assert not chunks[-2].is_hidden
        assert chunks[-3].data["choices"][0]["finish_reason"] == "stop"
        assert sum(chunk.text_length for chunk in chunks) == 9
        assert all(chunk.native is None for chunk in chunks)
        assert {chunk.data["id"] for chunk in chunks[:-1]} == {response()["id"]}
    # The three of one read are one chunk.
    assert len(at_once) < len(in_pieces)


async def test_stream_hides_usage_that_nobody_asked_for() -> None:
    chunks = await read(numbered(text_events("Hi")), asked())
    assert [chunk.is_hidden for chunk in chunks[-2:]] == [True, True]
    assert chunks[-2].usage is not None


@pytest.mark.parametrize("size", [7, 17, 100_000])
async def test_events_are_relayed_byte_for_byte_to_a_caller_of_the_same_dialect(size: int) -> None:
    sent = b"".join(numbered(text_events("Hi", " there", "!")))
    chunks = await read(cut_up(sent, size), asked(is_native=True))
    assert b"".join(chunk.native or b"" for chunk in chunks) == sent
    assert all(chunk.native is not None for chunk in chunks)
    assert "".join(delta.get("content") or "" for delta in deltas(chunks)) == "Hi there!"
    assert chunks[-1].is_final
    assert next(chunk for chunk in chunks if chunk.is_content).text_length > 0


async def test_event_lines_are_put_back_where_a_vendor_leaves_them_out() -> None:
    frames = numbered(text_events("Hi"))
    bare = [b"data: " + one.split(b"\ndata: ")[1] for one in frames]
    chunks = await read([b"".join(bare), b"data: [DONE]\n\n"], asked(is_native=True))
    assert b"".join(chunk.native or b"" for chunk in chunks) == b"".join(frames)


async def test_line_ends_and_a_missing_last_blank_line_do_not_matter() -> None:
    sent = b"".join(numbered(text_events("Hi"))).replace(b"\n", b"\r\n").rstrip()
    chunks = await read(cut_up(sent, 5), asked())
    assert chunks[-1].is_final
    assert "".join(delta.get("content") or "" for delta in deltas(chunks)) == "Hi"


async def test_what_llama_cpp_leaves_out_is_filled_in() -> None:
    sent = b"".join(map(frame, llama_events("Hi", "!")))
    chunks = await read([sent], asked(is_native=True))
    relayed = b"".join(chunk.native or b"" for chunk in chunks)
    events = [json.loads(block.split(b"\ndata: ")[1]) for block in relayed.strip().split(b"\n\n")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        if event["type"] in {"response.output_text.delta", "response.output_text.done"}:
            assert (event["output_index"], event["content_index"], event["logprobs"]) == (0, 0, [])
        if event["type"].startswith(("response.output_item.", "response.content_part.")):
            assert event["output_index"] == 0
    assert next(chunk for chunk in chunks if chunk.usage).usage == Usage(input=3, output=2)


async def test_tool_call_keeps_its_name_id_and_arguments() -> None:
    chunks = await read(numbered(call_events('{"loc', 'ation":"Paris"}')), asked())
    calls = [call for delta in deltas(chunks) for call in delta.get("tool_calls") or ()]
    assert calls[0]["id"] == "call_unLAR8MvFNptuiZK6K6HCy5k"
    assert calls[0]["function"] == {"name": "get_current_weather", "arguments": ""}
    assert [set(call) for call in calls[1:]] == [{"index", "function"}] * 2
    assert assemble(chunks, asked()).data["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == (
        '{"location":"Paris"}'
    )
    assert chunks[-3].data["choices"][0]["finish_reason"] == "tool_calls"


async def test_arguments_that_come_only_when_the_call_is_done_are_kept() -> None:
    # 56: litellm#27144
    events = [event for event in call_events('{"a":1}') if not event["type"].endswith("arguments.delta")]
    for skipped in ("nothing", "response.function_call_arguments.done", "response.output_item.added"):
        chunks = await read(numbered([event for event in events if event["type"] != skipped]), asked())
        [call] = assemble(chunks, asked()).data["choices"][0]["message"]["tool_calls"]
        assert call["function"] == {"name": "get_current_weather", "arguments": '{"a":1}'}


async def test_empty_delta_of_arguments_is_nothing() -> None:
    # 56: litellm#40069
    chunks = await read(numbered(call_events("", '{"a":1}', "")), asked())
    calls = [call for delta in deltas(chunks) for call in delta.get("tool_calls") or ()]
    assert [call["function"]["arguments"] for call in calls] == ["", '{"a":1}']


async def test_answer_that_comes_only_with_the_last_event_is_kept() -> None:
    events = [event for event in text_events("Hello") if "response" in event]
    chunks = await read(numbered(events), asked())
    assert "".join(delta.get("content") or "" for delta in deltas(chunks)) == "Hello"


async def test_text_and_tool_call_are_both_there() -> None:
    # 58: litellm#17246
    first, *middle, _ = text_events("Let me look.")
    call = call_events('{"a":1}')[1:-1]
    moved = [{**event, "output_index": 1} for event in call]
    last = {"type": "response.completed", "response": response([message("Let me look."), function_call()])}
    chunks = await read(numbered([first, *middle, *moved, last]), asked())
    whole = assemble(chunks, asked()).data["choices"][0]
    assert whole["message"]["content"] == "Let me look."
    assert whole["message"]["tool_calls"][0]["function"]["arguments"] == '{"a":1}'
    assert whole["finish_reason"] == "tool_calls"


async def test_unknown_early_event_is_passed_on_and_the_stream_goes_on() -> None:
    # 59: CLIProxyAPI#3798
    early = frame({"type": "codex.rate_limits", "rate_limits": {"allowed": True}})
    frames = numbered(text_events("Hi"))
    relayed = await read([early, *frames], asked(is_native=True))
    assert b"".join(chunk.native or b"" for chunk in relayed) == early + b"".join(frames)
    assert not relayed[0].is_content
    read_by_others = await read([early, *frames], asked())
    assert "".join(delta.get("content") or "" for delta in deltas(read_by_others)) == "Hi"


async def test_reasoning_is_readable_and_can_be_sent_back() -> None:
    first, *rest = text_events("Done")
    place = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Think."}]}
    events = [
        first,
        {"type": "response.output_item.added", "output_index": 0, "item": {**thought, "summary": []}},
        {
            "type": "response.reasoning_summary_part.added",
            **place,
            "part": {"type": "summary_text", "text": ""},
        },
        {"type": "response.reasoning_summary_text.delta", **place, "delta": "Think."},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {**thought, "encrypted_content": "gAAA"},
        },
        *({**event, "output_index": 1} if "output_index" in event else event for event in rest),
    ]
    message_ = assemble(await read(numbered(events), asked()), asked()).data["choices"][0]["message"]
    assert message_["reasoning_content"] == "Think."
    assert message_["content"] == "Done"
    assert message_["reasoning_details"][-1]["data"] == "gAAA"


async def test_failure_in_a_stream_is_an_error_with_the_vendors_word() -> None:
    failed = response(status="failed", error={"code": "server_error", "message": "The model failed."})
    frames = numbered([*text_events("Hi")[:5], {"type": "response.failed", "response": failed}])
    error = await fails(frames, asked())
    assert (error.code, error.message) == ("server_error", "The model failed.")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down.", "param": None, "sequence_number": 3},
        {"type": "error", "error": {"type": "x", "code": "rate_limit_exceeded", "message": "Slow down."}},
        {"error": {"code": "rate_limit_exceeded", "message": "Slow down."}},
    ],
)
async def test_error_event_of_any_shape_is_an_error(event: dict[str, Any]) -> None:
    data = b"data: " + json.dumps(event).encode() + b"\n\n"
    error = await fails([*numbered(text_events("Hi")[:5]), data], asked(is_native=True))
    assert (error.code, error.message) == ("rate_limit_exceeded", "Slow down.")


async def test_what_came_before_a_failure_is_handed_over_first() -> None:
    async def reads() -> AsyncIterator[bytes]:
        yield b"".join(numbered(text_events("Hi")[:5])) + b'data: {"type":"error","message":"No."}\n\n'

    batches = VENDOR.read_stream(reads(), asked())
    assert deltas(await anext(batches))[-1]["content"] == "Hi"
    with pytest.raises(UpstreamError, match=r"No\."):
        await anext(batches)


@pytest.mark.parametrize("size", [17, 100_000])
async def test_stream_without_its_end_is_cut(size: int) -> None:
    for end in range(1, 9):
        sent = b"".join(numbered(text_events("Hi", "!"))[:end])
        error = await fails(cut_up(sent, size), asked())
        assert error.code == "upstream_cut"


@pytest.mark.parametrize(
    "data", [b"data: {\n\n", b"data: []\n\n", b'data: {"type":7}\n\n', b'data: {"type":"a\\nb: c"}\n\n']
)
async def test_event_that_is_none_is_garbage(data: bytes) -> None:
    assert (await fails([data], asked(is_native=True))).code == "upstream_garbage"


async def test_vendor_that_does_not_stream_is_read_all_the_same() -> None:
    body = json.dumps(response([message("Hello"), function_call()])).encode()
    chunks = await read(cut_up(body, 100), asked(is_native=True, wants_usage=True))
    assert all(chunk.native is None for chunk in chunks)
    assert chunks[0].data["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert chunks[-2].usage is not None
    assert chunks[-1].is_final


async def test_error_under_status_200_instead_of_a_stream_is_an_error() -> None:
    error = await fails([b'{"error":{"message":"Busy.","code":"busy"}}'], asked())
    assert error.code == "busy"


async def test_unreadable_usage_is_kept_for_whoever_raises_the_alarm() -> None:
    chunks = await read(numbered(text_events("Hi", usage={"input_tokens": -1})), asked())
    assert chunks[-1].data["usage"] == {"input_tokens": -1}
    assert all(chunk.usage is None for chunk in chunks)
