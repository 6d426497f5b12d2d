"""Anthropic's answers as canonical chunks, whole and streamed in pieces of 17 bytes.

Numbers in comments are those of the regression cases in the wire contract.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.gateway.anthropic import wire
from tests.gateway.anthropic.vendor_calls import HELLO, call_of, function, request, user
from tollkeeper.contracts.chat import Call, Chunk, Operation, Usage
from tollkeeper.core.errors import UpstreamError, UpstreamTimeout
from tollkeeper.gateway.assemble import assemble
from tollkeeper.gateway.dialects.anthropic_messages import AnthropicVendor

CALL = call_of()
STREAMED = call_of(stream=True, stream_options={"include_usage": True})
COUNTED = Usage(input=10, cache_read=1000, cache_write=60, cache_write_1h=40, output=5)
OLD = "claude-3-7-sonnet-20250219"
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {}}}}


def whole(document: Any, call: Call = CALL) -> Chunk:
    return AnthropicVendor().read_whole(
        document if isinstance(document, bytes) else json.dumps(document).encode(), call
    )


def said(document: Any, call: Call = CALL) -> dict[str, Any]:
    message = whole(document, call).data["choices"][0]["message"]
    assert isinstance(message, dict)
    return message


async def streamed(data: bytes, call: Call = STREAMED, size: int = 17) -> list[Chunk]:
    return [c async for batch in AnthropicVendor().read_stream(wire.in_pieces(data, size), call) for c in batch]


def deltas(chunks: Sequence[Chunk]) -> list[dict[str, Any]]:
    return [chunk.data["choices"][0]["delta"] for chunk in chunks if chunk.data.get("choices")]


def put_together(chunks: Sequence[Chunk], call: Call = STREAMED) -> dict[str, Any]:
    message = assemble(chunks, call).data["choices"][0]["message"]
    assert isinstance(message, dict)
    return message


# Whole


def test_text_is_a_completion() -> None:
    chunk = whole(wire.message(wire.text("Hel"), wire.text("lo")))
    data = chunk.data
    assert isinstance(data.pop("created"), int)
    assert data == {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "object": "chat.completion",
        "model": "claude-sonnet-4-6",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 1110,
            "completion_tokens": 5,
            "total_tokens": 1115,
            "prompt_tokens_details": {"cached_tokens": 1000, "audio_tokens": 0, "cache_write_tokens": 100},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
    }
    assert (chunk.is_content, chunk.is_final, chunk.usage, chunk.native) == (True, True, COUNTED, None)


def test_calls_stand_beside_the_text_and_their_names_come_back() -> None:
    call = call_of(tools=[function("files.read"), function("b")])
    sent = request(tools=[function("files.read")])["tools"][0]["name"]
    content = (wire.text("I will."), wire.tool(sent, "toolu_1", path="a"), wire.tool("b", "toolu_2"))
    message = said(wire.message(*content, stop_reason="tool_use"), call)
    assert message["content"] == "I will."
    assert message["tool_calls"] == [
        {"id": "toolu_1", "type": "function", "function": {"name": "files.read", "arguments": '{"path":"a"}'}},
        {"id": "toolu_2", "type": "function", "function": {"name": "b", "arguments": "{}"}},
    ]
    assert (
        whole(wire.message(*content, stop_reason="tool_use"), call).data["choices"][0]["finish_reason"] == "tool_calls"
    )


def test_calls_alone_have_no_content() -> None:
    assert said(wire.message(wire.tool("a"), stop_reason="tool_use"))["content"] is None


def test_empty_answer_is_an_empty_text() -> None:
    assert said(wire.message()) == {"role": "assistant", "content": "", "refusal": None}


# 17
@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
        ("something_new", "stop"),
        (None, "stop"),
    ],
)
def test_reasons_are_words_that_clients_know(reason: str | None, word: str) -> None:
    assert whole(wire.message(wire.text("x"), stop_reason=reason)).data["choices"][0]["finish_reason"] == word


def test_pause_is_told_apart_from_an_end() -> None:
    choice = whole(wire.message(wire.text("x"), stop_reason="pause_turn")).data["choices"][0]
    assert choice["native_finish_reason"] == "pause_turn"


def test_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "It could harm."}
    assert said(wire.message(stop_reason="refusal", stop_details=details))["refusal"] == "It could harm."


def test_thinking_is_shown_and_can_be_sent_back() -> None:
    content = [
        {"type": "thinking", "thinking": "hm \u2028 é", "signature": "c2ln+/=="},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "thinking", "thinking": "", "signature": "ZW1wdHk="},
        wire.text("Hello"),
    ]
    message = said(wire.message(*content))
    assert message["reasoning_content"] == "hm \u2028 é"
    assert request(messages=[user(), message, user()])["messages"][1]["content"] == content


def test_answer_by_the_tool_of_an_old_model_is_its_content() -> None:
    call = call_of(OLD, response_format=FORM)
    name = request(OLD, response_format=FORM)["tools"][0]["name"]
    choice = whole(wire.message(wire.tool(name, age=5), stop_reason="tool_use"), call).data["choices"][0]
    assert choice["message"]["content"] == '{"age":5}'
    assert choice["finish_reason"] == "stop"
    assert "tool_calls" not in choice["message"]


def test_pages_that_are_cited_are_annotations() -> None:
    cited = {"type": "web_search_result_location", "url": "https://example.com", "title": "T", "cited_text": "x"}
    searched = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    message = said(wire.message(searched, wire.text("ab"), wire.text("cd", citations=[cited])))
    assert message["content"] == "abcd"
    assert message["annotations"][0]["url_citation"] == {
        "url": "https://example.com", "title": "T", "start_index": 2, "end_index": 4,
    }  # fmt: skip


def test_thinking_tokens_are_a_class_of_their_own() -> None:
    usage = {**wire.USAGE, "output_tokens": 50, "output_tokens_details": {"thinking_tokens": 30}}
    chunk = whole(wire.message(wire.text("x"), usage=usage))
    assert chunk.usage is not None
    assert (chunk.usage.output, chunk.usage.reasoning) == (20, 30)
    assert chunk.data["usage"]["completion_tokens_details"]["reasoning_tokens"] == 30


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Bad gateway</html>",
        b'{"type":"message","conte',
        b"[]",
        b"null",
        b"{}",
        b'{"content":"text"}',
        b'{"content":[1]}',
        b'{"content":[{"type":"text"}]}',
        b'{"content":[{"type":"tool_use","id":"x"}]}',
    ],
)
def test_garbage_is_named(body: bytes) -> None:
    with pytest.raises(UpstreamError) as refused:
        whole(body)
    assert refused.value.code == "upstream_garbage"


def test_error_under_200_is_an_error() -> None:
    with pytest.raises(UpstreamError) as refused:
        whole(wire.error("overloaded_error", "Overloaded"))
    assert (refused.value.status, refused.value.code) == (503, "upstream_overloaded")


def test_whole_answer_to_a_caller_of_the_same_dialect_keeps_its_bytes() -> None:
    body = json.dumps(wire.message(wire.text("x")), indent=1).encode()
    assert whole(body, native()).native == body


# Streams


async def test_text_streams_in_the_order_strict_clients_need() -> None:
    chunks = await streamed(wire.stream(wire.text_block(0, "Hel", "lo – ", "é")))
    assert deltas(chunks) == [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo – "},
        {"content": "é"},
        {},
    ]
    assert [c.data["choices"][0]["finish_reason"] for c in chunks if c.data.get("choices")] == [None] * 4 + ["stop"]
    assert {(c.data["id"], c.data["model"], c.data["object"]) for c in chunks if c.data} == {
        ("msg_01XFDUDYJgAACzvnptvVoYEL", "claude-sonnet-4-6", "chat.completion.chunk")
    }
    assert [c.is_content for c in chunks] == [False, False, True, True, True, True, False, False]
    assert (chunks[0].data, chunks[0].is_hidden, chunks[0].input_usage) == ({}, True, replace(COUNTED, output=0))
    assert chunks[-1].is_final
    assert sum(c.text_length for c in chunks) == len("Hello – é")


# 19
async def test_cache_is_counted_once_in_a_stream() -> None:
    repeated = wire.event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage={
            "input_tokens": 10,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 1000,
            "output_tokens": 5,
        },
    )
    for ending in (wire.finish(), repeated):
        chunks = await streamed(wire.start() + wire.text_block(0, "x") + ending + wire.STOP)
        counted = [c for c in chunks if c.usage is not None]
        assert [c.usage for c in counted] == [COUNTED]
        assert counted[0].data["choices"] == []
        assert counted[0].data["usage"]["prompt_tokens"] == 1110
        assert counted[0].data["usage"]["total_tokens"] == 1115
        assert not counted[0].is_hidden


async def test_usage_that_nobody_asked_for_is_counted_and_not_shown() -> None:
    chunks = await streamed(wire.stream(wire.text_block(0, "x")), call_of(stream=True))
    assert [c.is_hidden for c in chunks if c.usage is not None] == [True]
    assert all("usage" not in c.data for c in chunks if c.usage is None)


# 5
async def test_streamed_call_without_arguments_has_an_empty_object() -> None:
    chunks = await streamed(wire.stream(wire.tool_block(0, "now", ""), stop_reason="tool_use"))
    assert deltas(chunks)[0] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"index": 0, "id": "toolu_1", "type": "function", "function": {"name": "now", "arguments": ""}}],
    }
    assert put_together(chunks)["tool_calls"][0]["function"]["arguments"] == "{}"


# 6
async def test_input_of_the_opening_event_does_not_stand_before_the_arguments() -> None:
    chunks = await streamed(wire.stream(wire.tool_block(0, "f", '{"a"', ":1}"), stop_reason="tool_use"))
    assert put_together(chunks)["tool_calls"][0]["function"]["arguments"] == '{"a":1}'


async def test_input_that_comes_whole_at_the_opening_is_kept() -> None:
    chunks = await streamed(wire.stream(wire.block(0, wire.tool("f", a=1)), stop_reason="tool_use"))
    assert put_together(chunks)["tool_calls"][0]["function"]["arguments"] == '{"a":1}'


# 7
async def test_parallel_calls_are_numbered_from_nought() -> None:
    parts = (
        wire.text_block(0, "Both."),
        wire.tool_block(1, "a", '{"x":1}'),
        wire.tool_block(2, "b", '{"y":', "2}", call_id="toolu_2"),
    )
    chunks = await streamed(wire.stream(*parts, stop_reason="tool_use"))
    calls = [call for delta in deltas(chunks) for call in delta.get("tool_calls", ())]
    assert [call["index"] for call in calls] == [0, 0, 1, 1, 1]
    assert [call["id"] for call in calls if "id" in call] == ["toolu_1", "toolu_2"]
    assert deltas(chunks)[0] == {"role": "assistant", "content": ""}
    assert [call["function"]["arguments"] for call in put_together(chunks)["tool_calls"]] == ['{"x":1}', '{"y":2}']


# 9
async def test_streamed_names_come_back() -> None:
    call = call_of(stream=True, tools=[function("files.read")])
    sent = request(tools=[function("files.read")])["tools"][0]["name"]
    chunks = await streamed(wire.stream(wire.tool_block(0, sent, "{}"), stop_reason="tool_use"), call)
    assert put_together(chunks, call)["tool_calls"][0]["function"]["name"] == "files.read"


async def test_streamed_thinking_is_shown_and_can_be_sent_back() -> None:
    redacted = {"type": "redacted_thinking", "data": "b3BhcXVl"}
    parts = (
        wire.thinking_block(0, "so ", "far \u2028", signature="c2ln+/=="),
        wire.block(1, redacted),
        wire.thinking_block(2, signature="ZW1wdHk="),
        wire.text_block(3, "Hello"),
    )
    chunks = await streamed(wire.stream(*parts))
    message = put_together(chunks)
    assert message["reasoning_content"] == "so far \u2028"
    expected = [
        {"type": "thinking", "thinking": "so far \u2028", "signature": "c2ln+/=="},
        redacted,
        {"type": "thinking", "thinking": "", "signature": "ZW1wdHk="},
        wire.text("Hello"),
    ]
    assert request(messages=[user(), message, user()])["messages"][1]["content"] == expected
    # A client that only keeps what came, piece by piece.
    details = [detail for delta in deltas(chunks) for detail in delta.get("reasoning_details", ())]
    kept = {"role": "assistant", "content": "Hello", "reasoning_details": details}
    assert request(messages=[user(), kept, user()])["messages"][1]["content"] == expected


async def test_streamed_answer_by_a_tool_is_text() -> None:
    call = call_of(OLD, stream=True, response_format=FORM)
    name = request(OLD, response_format=FORM)["tools"][0]["name"]
    chunks = await streamed(wire.stream(wire.tool_block(0, name, '{"a"', ":1}"), stop_reason="tool_use"), call)
    assert deltas(chunks) == [{"role": "assistant", "content": ""}, {"content": '{"a"'}, {"content": ":1}"}, {}]
    assert chunks[-3].data["choices"][0]["finish_reason"] == "stop"


# 17
async def test_streamed_reasons_are_words_that_clients_know() -> None:
    for reason, word in (("max_tokens", "length"), ("refusal", "content_filter"), ("pause_turn", "stop")):
        chunks = await streamed(wire.stream(wire.text_block(0, "x"), stop_reason=reason))
        assert [c.data["choices"][0]["finish_reason"] for c in chunks if c.data.get("choices")][-1] == word


@pytest.mark.parametrize("size", [1, 2, 17, 100_000])
async def test_stream_may_be_split_anywhere_and_end_its_lines_anyhow(size: int) -> None:
    data = wire.stream(wire.text_block(0, "é–𝄞"))
    for form in (data, data.replace(b"\n", b"\r\n"), data[:-2], data + b"data: [DONE]\n\n"):
        chunks = await streamed(form, size=size)
        assert "".join(delta.get("content", "") for delta in deltas(chunks)) == "é–𝄞"
        assert chunks[-1].is_final


async def test_unknown_events_and_blocks_are_passed_over() -> None:
    parts = (
        wire.event("something_new", more=1),
        wire.block(0, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                   {"type": "input_json_delta", "partial_json": "{}"}),
        wire.block(1, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
        wire.text_block(2, "x"),
    )  # fmt: skip
    assert put_together(await streamed(wire.stream(*parts)))["content"] == "x"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        wire.start(),
        wire.start() + wire.text_block(0, "half"),
        wire.start() + wire.text_block(0, "half")[:-30],
        wire.start() + wire.text_block(0, "x") + wire.STOP,
        wire.PING,
    ],
)
async def test_stream_without_its_end_is_cut_off(data: bytes) -> None:
    with pytest.raises(UpstreamError) as refused:
        await streamed(data)
    assert refused.value.code == "upstream_cut"


async def test_stream_that_said_why_it_stopped_is_whole() -> None:
    chunks = await streamed(wire.start() + wire.text_block(0, "x") + wire.finish())
    assert chunks[-1].is_final
    assert [c.usage for c in chunks if c.usage is not None] == [COUNTED]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("overloaded_error", 503, "upstream_overloaded"),
        ("api_error", 502, "upstream_error"),
        ("rate_limit_error", 503, "upstream_error"),
        ("billing_error", 503, "upstream_quota"),
        ("authentication_error", 502, "upstream_authentication"),
    ],
)
async def test_error_event_after_content_ends_the_stream_with_an_error(kind: str, status: int, code: str) -> None:
    broken = wire.start() + wire.text_block(0, "half") + wire.event("error", error=wire.error(kind)["error"])
    batches = AnthropicVendor().read_stream(wire.in_pieces(broken, 100_000), STREAMED)
    read = await anext(batches)
    with pytest.raises(UpstreamError) as refused:
        await anext(batches)
    assert (refused.value.status, refused.value.code) == (status, code)
    assert deltas(read)[-1] == {"content": "half"}


async def test_timeout_in_the_middle_is_a_timeout() -> None:
    with pytest.raises(UpstreamTimeout):
        await streamed(wire.start() + wire.event("error", error=wire.error("timeout_error")["error"]))


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {nonsense\n\n",
        b"data: 5\n\n",
        b'data: {"type":7}\n\n',
        b'data: {"choices":[]}\n\n',
        wire.event("content_block_start", index=0),
        wire.event("content_block_start", index="a", content_block=wire.text("")),
        wire.event("content_block_start", index=0, content_block={"type": "tool_use"}),
        wire.event("content_block_delta", index=0),
        wire.event("content_block_delta", delta={"type": "text_delta", "text": "x"}),
        wire.event("message_start"),
        wire.event("message_start", message=[]),
    ],
)
async def test_garbage_in_a_stream_is_named(bad: bytes) -> None:
    with pytest.raises(UpstreamError) as refused:
        await streamed(wire.start() + bad)
    assert refused.value.code == "upstream_garbage"


async def test_content_before_the_beginning_is_garbage() -> None:
    with pytest.raises(UpstreamError) as refused:
        await streamed(wire.text_block(0, "x"))
    assert refused.value.code == "upstream_garbage"


async def test_whole_answer_where_a_stream_was_asked_for_is_streamed() -> None:
    body = json.dumps(wire.message(wire.text("Hi"), wire.tool("f", a=1), stop_reason="tool_use")).encode()
    message = put_together(await streamed(body))
    assert message["content"] == "Hi"
    assert message["tool_calls"][0]["function"]["arguments"] == '{"a":1}'


async def test_error_body_where_a_stream_was_asked_for_is_an_error() -> None:
    with pytest.raises(UpstreamError) as refused:
        await streamed(json.dumps(wire.error("overloaded_error")).encode())
    assert refused.value.status == 503


async def test_long_answer_is_the_same_in_one_read_and_in_many() -> None:
    parts = (
        wire.thinking_block(0, *(f"{n} \u2028" for n in range(80))),
        wire.text_block(1, *(f'{n} "é"\\' for n in range(200))),
        wire.tool_block(2, "f", '{"a":[0', *(f",{n}" for n in range(100)), "]}"),
        wire.text_block(3, "end"),
    )
    data = wire.stream(*parts, stop_reason="tool_use")
    many, one = await streamed(data, size=17), await streamed(data, size=1_000_000)
    assert put_together(one) == put_together(many)
    assert len(one) < 30 < len(many)
    assert sum(c.text_length for c in one) == sum(c.text_length for c in many)


@pytest.mark.parametrize(
    "odd",
    [
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a","text":"b"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"},"more":{"x":"b"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\\"b"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text": "a" }}',
        b'{"delta":{"text":"a","type":"text_delta"},"index":0,"type":"content_block_delta"}',
    ],
)
async def test_event_that_is_a_little_different_is_read_in_full(odd: bytes) -> None:
    usual = wire.event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"})
    data = wire.start() + wire.event("content_block_start", index=0, content_block=wire.text(""))
    data += usual * 3 + b"data: " + odd + b"\n\n" + usual * 2 + wire.finish() + wire.STOP
    text = json.loads(odd)["delta"]["text"]
    for size in (17, 1_000_000):
        assert put_together(await streamed(data, size=size))["content"] == f"xxx{text}xx"


async def test_half_an_event_in_the_shape_of_the_others_is_garbage() -> None:
    usual = wire.event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"})
    head = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":'
    for text in (b'"x', b'"x","y"', b""):
        for good in (1, 4):
            data = wire.start() + usual * good + head + text + b"}}\n\n" + usual + wire.finish() + wire.STOP
            with pytest.raises(UpstreamError):
                await streamed(data, size=1_000_000)


async def test_arguments_of_the_vendors_own_tools_are_not_shown() -> None:
    own = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    pieces = ({"type": "input_json_delta", "partial_json": text} for text in ('{"q"', ":", "1}"))
    for size in (17, 1_000_000):
        chunks = await streamed(wire.stream(wire.block(0, own, *pieces), wire.text_block(1, "x")), size=size)
        assert all(c.data for c in chunks if not c.is_hidden)


# The same dialect at both ends


def native() -> Call:
    document = {"model": "m", "max_tokens": 9, "messages": HELLO, "stream": True}
    body = call_of(max_completion_tokens=9, stream=True).body
    return Call(
        Operation.CHAT, "m", is_stream=True, body=body, wants_usage=True, dialect="anthropic_messages", native=document
    )


@pytest.mark.parametrize("size", [1, 17, 100_000])
async def test_stream_to_a_caller_of_the_same_dialect_is_relayed_as_it_came(size: int) -> None:
    data = wire.stream(wire.thinking_block(0, "hm"), wire.text_block(1, "é"), wire.tool_block(2, "f", "{}"))
    chunks = await streamed(data, native(), size)
    assert b"".join(c.native or b"" for c in chunks) == data
    assert all(c.native is not None and not c.is_hidden for c in chunks)
    assert put_together(chunks, native())["content"] == "é"
    assert [c.usage for c in chunks if c.usage is not None] == [COUNTED]
    assert chunks[-1].is_final
    assert chunks[-1].native == wire.STOP


async def test_events_without_names_and_an_end_get_them() -> None:
    data = wire.start() + wire.text_block(0, "x") + wire.finish()
    bare = b"".join(line + b"\n\n" for line in data.split(b"\n") if line.startswith(b"data: "))
    chunks = await streamed(bare, native())
    assert b"".join(c.native or b"" for c in chunks) == data + wire.STOP
