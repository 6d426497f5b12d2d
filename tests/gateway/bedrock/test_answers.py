"""Converse's answers as canonical ones, whole and streamed, good and broken. Payloads follow the runtime reference."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from tollkeeper.contracts.chat import Call, Chunk, Operation, Usage
from tollkeeper.core.errors import UpstreamError, UpstreamTimeout
from tollkeeper.gateway.assemble import assemble
from tollkeeper.gateway.dialects.bedrock_converse import ConverseVendor, read_failure
from tollkeeper.gateway.dialects.bedrock_converse.names import own_names
from tollkeeper.gateway.provider import FailureClass
from tollkeeper.gateway.simulator.vendors import event_stream

VENDOR = ConverseVendor()
USAGE = {
    "inputTokens": 30,
    "outputTokens": 12,
    "totalTokens": 142,
    "cacheReadInputTokens": 60,
    "cacheWriteInputTokens": 40,
    "cacheDetails": [{"ttl": "1h", "inputTokens": 10}, {"ttl": "5m", "inputTokens": 30}],
}
COUNTED = Usage(input=30, cache_read=60, cache_write=30, cache_write_1h=10, output=12)
SCHEMA_FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


def call(**body: Any) -> Call:
    wants = bool((body.get("stream_options") or {}).get("include_usage"))
    return Call(Operation.CHAT, "asked", is_stream=True, body={"messages": [], **body}, wants_usage=wants)


def whole(*content: Any, stop: str = "end_turn", **body: Any) -> Chunk:
    document = {
        "output": {"message": {"role": "assistant", "content": list(content)}},
        "stopReason": stop,
        "usage": USAGE,
        "metrics": {"latencyMs": 5},
    }
    return VENDOR.read_whole(json.dumps(document).encode(), call(**body))


def event(kind: str, **data: Any) -> bytes:
    return event_stream.event(kind, json.dumps({**data, "p": "abcdefg"}).encode())


def delta(index: int, **value: Any) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=index, delta=value)


def tool(index: int, call_id: str, name: str, *fragments: str) -> list[bytes]:
    start = {"toolUse": {"toolUseId": call_id, "name": name}}
    return [
        event("contentBlockStart", contentBlockIndex=index, start=start),
        *(delta(index, toolUse={"input": text}) for text in fragments),
        event("contentBlockStop", contentBlockIndex=index),
    ]


START = event("messageStart", role="assistant")
METADATA = event("metadata", usage=USAGE, metrics={"latencyMs": 5}, serviceTier={"type": "flex"})


def stop(reason: str = "end_turn") -> bytes:
    return event("messageStop", stopReason=reason)


async def chunks(*pieces: bytes, size: int | None = None, **body: Any) -> list[Chunk]:
    data = b"".join(pieces)
    step = size or max(len(data), 1)

    async def reads() -> AsyncIterator[bytes]:
        for at in range(0, len(data), step):
            yield data[at : at + step]

    return [chunk async for batch in VENDOR.read_stream(reads(), call(**body)) for chunk in batch]


def deltas(found: Sequence[Chunk]) -> list[Any]:
    return [choice["delta"] for chunk in found for choice in chunk.data.get("choices", ())]


# Whole


def test_whole_answer() -> None:
    chunk = whole({"text": "Hel"}, {"text": "lo"})
    [choice] = chunk.data["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Hello", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert chunk.usage == COUNTED
    assert chunk.data["usage"]["prompt_tokens"] == 130
    assert chunk.data["usage"]["prompt_tokens_details"]["cached_tokens"] == 60
    assert chunk.is_final


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"), ("model_context_window_exceeded", "length"), ("something_new", "stop"),
    ],
)  # fmt: skip
def test_stop_reasons(told: str, reason: str) -> None:
    """17."""
    assert whole({"text": "x"}, stop=told).data["choices"][0]["finish_reason"] == reason


def test_malformed_answer_is_a_failure_and_no_success() -> None:
    with pytest.raises(UpstreamError):
        whole(stop="malformed_tool_use")


def test_calls_of_tools_have_text_arguments_and_their_callers_names() -> None:
    name = "files.read"
    tools = [{"type": "function", "function": {"name": name}}]
    fitted = next(iter(_fitted(tools)))
    chunk = whole(
        {"toolUse": {"toolUseId": "a", "name": fitted, "input": {"x": [1]}}},
        {"toolUse": {"toolUseId": "b", "name": "other", "input": {}}},
        stop="tool_use",
        tools=tools,
    )
    [choice] = chunk.data["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": name, "arguments": '{"x":[1]}'}},
        {"id": "b", "type": "function", "function": {"name": "other", "arguments": "{}"}},
    ]


def _fitted(tools: Any) -> Any:
    return own_names({"tools": tools})


def test_thinking_is_carried_with_its_signature() -> None:
    chunk = whole(
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "sig=="}}},
        {"reasoningContent": {"redactedContent": "c2VjcmV0"}},
        {"text": "4"},
    )
    message = chunk.data["choices"][0]["message"]
    assert message["reasoning_content"] == "Hm."
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hm.", "index": 0, "format": "anthropic", "signature": "sig=="},
        {"type": "reasoning.encrypted", "data": "c2VjcmV0", "format": "bedrock", "index": 1},
    ]


def test_answer_by_tool_is_the_answer() -> None:
    use = {"toolUse": {"toolUseId": "a", "name": "answer_in_json", "input": {"a": 1}}}
    [choice] = whole(use, stop="tool_use", response_format=SCHEMA_FORM).data["choices"]
    assert choice["message"]["content"] == '{"a":1}'
    assert choice["finish_reason"] == "stop"
    # A tool of that name of the caller's own is a tool.
    [choice] = whole(use, stop="tool_use").data["choices"]
    assert choice["finish_reason"] == "tool_calls"


def test_citations_of_the_web_are_annotations() -> None:
    cited = {
        "citationsContent": {
            "content": [{"text": "It rains."}],
            "citations": [{"title": "Weather", "location": {"web": {"url": "https://w.example"}}}, {"title": "other"}],
        }
    }
    message = whole({"text": "So: "}, cited).data["choices"][0]["message"]
    assert message["content"] == "So: It rains."
    [annotation] = message["annotations"]
    assert annotation["url_citation"] == {
        "url": "https://w.example",
        "title": "Weather",
        "start_index": 4,
        "end_index": 13,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"{}", b'{"output":{}}', b'{"output":{"message":{"content":"x"}}}', b'{"message":"no"}',
        b'{"output":{"message":{"content":[7]}}}', b'{"output":{"message":{"content":[{"toolUse":{}}]}}}',
        b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}',
    ],
)  # fmt: skip
def test_whole_answer_that_is_none_is_a_named_error(body: bytes) -> None:
    with pytest.raises(UpstreamError) as told:
        VENDOR.read_whole(body, call())
    assert told.value.code == "upstream_garbage"


# Streams


@pytest.mark.parametrize("size", [None, 17])
async def test_stream_of_text(size: int | None) -> None:
    found = await chunks(
        START, delta(0, text="Hel"), delta(0, text="lo"), event("contentBlockStop", contentBlockIndex=0), stop(), METADATA,
        size=size, stream_options={"include_usage": True},
    )  # fmt: skip
    assert deltas(found) == [{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}, {}]
    assert len({(chunk.data["id"], chunk.data["created"]) for chunk in found if chunk.data}) == 1
    assert [chunk.is_content for chunk in found] == [False, True, True, True, False, False]
    usage, final = found[-2:]
    assert usage.usage == COUNTED
    assert not usage.is_hidden
    assert usage.data["choices"] == []
    assert usage.data["service_tier"] == "flex"
    assert final.is_final
    assert sum(chunk.text_length for chunk in found) == 5


async def test_usage_nobody_asked_for_is_hidden() -> None:
    found = await chunks(START, delta(0, text="x"), stop(), METADATA)
    assert [chunk.is_hidden for chunk in found] == [False, False, False, True, True]
    assert found[3].usage == COUNTED


async def test_stream_of_parallel_calls() -> None:
    """7, 6, 5: numbered from 0, arguments as they come, `{}` for none."""
    found = await chunks(
        START,
        *tool(1, "a", "get", "", '{"x":', "1}"),
        *tool(2, "b", "other"),
        stop("tool_use"),
        METADATA,
    )
    calls = [call for value in deltas(found) for call in value.get("tool_calls", ())]
    assert calls == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "get", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"x":'}},
        {"index": 0, "function": {"arguments": "1}"}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "other", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    assert found[-3].data["choices"][0]["finish_reason"] == "tool_calls"


async def test_streamed_thinking_comes_together_as_it_was() -> None:
    found = await chunks(
        START,
        delta(0, reasoningContent={"text": "Two "}),
        delta(0, reasoningContent={"text": "and two."}),
        delta(0, reasoningContent={"signature": "sig=="}),
        delta(1, reasoningContent={"redactedContent": "c2VjcmV0"}),
        delta(2, text="4"),
        stop(),
        METADATA,
    )
    message = assemble(found, call()).data["choices"][0]["message"]
    assert message["reasoning_content"] == "Two and two."
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Two and two.", "index": 0, "format": "anthropic", "signature": "sig=="},
        {"type": "reasoning.encrypted", "data": "c2VjcmV0", "index": 1, "format": "bedrock"},
    ]
    assert message["content"] == "4"


async def test_streamed_answer_by_tool_is_text() -> None:
    found = await chunks(
        START, *tool(0, "a", "answer_in_json", '{"a":', "1}"), stop("tool_use"), METADATA, response_format=SCHEMA_FORM
    )
    assert deltas(found)[1:] == [{"content": '{"a":'}, {"content": "1}"}, {}]
    assert found[-3].data["choices"][0]["finish_reason"] == "stop"


async def test_unknown_events_are_passed_over() -> None:
    found = await chunks(START, event("somethingNew", x=1), delta(0, text="x"), delta(0, video={}), stop(), METADATA)
    assert "".join(value.get("content") or "" for value in deltas(found)) == "x"


async def test_stream_without_its_count_is_a_success_that_is_estimated() -> None:
    found = await chunks(START, delta(0, text="abc"), stop())
    assert found[-1].is_final
    assert all(chunk.usage is None for chunk in found)


async def test_text_before_the_start_gets_its_role() -> None:
    """45."""
    assert deltas(await chunks(delta(0, text="x"), stop(), METADATA))[0] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [START],
        [START, delta(0, text="Hel")],
        [START, delta(0, text="Hel"), stop()[:-3]],
        [START, METADATA],
    ],
)
async def test_stream_without_its_end_is_cut_and_no_success(pieces: list[bytes]) -> None:
    with pytest.raises(UpstreamError) as told:
        await chunks(*pieces)
    assert told.value.code == "upstream_cut"


@pytest.mark.parametrize(
    ("name", "kind", "status", "code"),
    [
        ("throttlingException", UpstreamError, 503, "upstream_error"),
        ("serviceUnavailableException", UpstreamError, 503, "upstream_overloaded"),
        ("internalServerException", UpstreamError, 502, "upstream_error"),
        ("modelStreamErrorException", UpstreamError, 502, "upstream_error"),
        ("modelTimeoutException", UpstreamTimeout, 504, "upstream_timeout"),
        ("validationException", UpstreamError, 400, "invalid_request"),
        ("accessDeniedException", UpstreamError, 502, "upstream_authentication"),
    ],
)
async def test_exception_inside_a_stream_is_a_named_error(
    name: str, kind: type[UpstreamError], status: int, code: str
) -> None:
    with pytest.raises(kind) as told:
        await chunks(START, delta(0, text="x"), event_stream.exception(name, b'{"message":"arn:aws:iam::1:user/x"}'))
    assert (told.value.status, told.value.code) == (status, code)


@pytest.mark.parametrize(
    "frame",
    [
        event_stream.event("contentBlockDelta", b"{no"),
        event_stream.event("contentBlockDelta", b"[]"),
        event_stream.event("contentBlockDelta", b"{}"),
        event_stream.event("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"toolUse":{"input":"x"}}}'),
        event_stream.event("contentBlockStart", b'{"contentBlockIndex":0,"start":{"toolUse":{"name":7}}}'),
        event_stream.event("contentBlockStart", b'{"contentBlockIndex":"0","start":{"toolUse":{"name":"x"}}}'),
        START[:-1] + b"\0",
        b"HTTP/1.1 500 no frames at all",
    ],
)
async def test_garbage_inside_a_stream_is_a_named_error(frame: bytes) -> None:
    with pytest.raises(UpstreamError) as told:
        await chunks(START, frame)
    assert told.value.code == "upstream_garbage"


async def test_what_came_before_an_error_is_handed_over_first() -> None:
    data = START + delta(0, text="x") + event_stream.exception("internalServerException", b"{}")

    async def reads() -> AsyncIterator[bytes]:
        yield data

    batches = VENDOR.read_stream(reads(), call())
    assert deltas(await anext(batches))[-1] == {"content": "x"}
    with pytest.raises(UpstreamError):
        await anext(batches)


# Refusals


@pytest.mark.parametrize(
    ("status", "name", "message", "kind", "code"),
    [
        (400, "ValidationException", "Malformed input.", FailureClass.REQUEST, "invalid_request"),
        (400, "ValidationException", "Input is too long for requested model.", FailureClass.CONTEXT_WINDOW, "context_length_exceeded"),
        (400, "ValidationException", "The provided model identifier is invalid.", FailureClass.SERVER, "model_not_found"),
        (403, "AccessDeniedException", "User: arn:aws:iam::1:user/x is not authorized", FailureClass.CREDENTIAL, "upstream_authentication"),
        (403, "ExpiredTokenException", "The security token included in the request is expired", FailureClass.CREDENTIAL, "upstream_authentication"),
        (400, "UnrecognizedClientException", "The security token is invalid.", FailureClass.CREDENTIAL, "upstream_authentication"),
        (400, "ServiceQuotaExceededException", "quota", FailureClass.RATE, "upstream_quota"),
        (429, "ThrottlingException", "Too many requests", FailureClass.RATE, "rate_limit_exceeded"),
        (429, "ModelNotReadyException", "not ready", FailureClass.RATE, "rate_limit_exceeded"),
        (408, "ModelTimeoutException", "timeout", FailureClass.TIMEOUT, "upstream_timeout"),
        (404, "ResourceNotFoundException", "Could not resolve", FailureClass.SERVER, "model_not_found"),
        (424, "ModelErrorException", "failed", FailureClass.SERVER, "upstream_error"),
        (500, "InternalServerException", "oops", FailureClass.SERVER, "upstream_error"),
        (503, "ServiceUnavailableException", "busy", FailureClass.SERVER, "upstream_error"),
        (502, "", "", FailureClass.SERVER, "upstream_error"),
    ],
)  # fmt: skip
def test_refusals(status: int, name: str, message: str, kind: FailureClass, code: str) -> None:
    headers = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/"} if name else {}
    failure = read_failure(status, headers, json.dumps({"message": message}).encode())
    assert (failure.kind, failure.error.code) == (kind, code)
    assert "arn:" not in failure.error.message
    in_body = read_failure(status, {}, json.dumps({"__type": f"com.amazon#{name}", "Message": message}).encode())
    assert in_body.kind == kind


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b'{"message":{}}', b"\xff"])
def test_refusal_of_any_form_is_read(body: bytes) -> None:
    assert read_failure(400, {}, body).kind is FailureClass.REQUEST
    assert read_failure(500, {"x-amzn-errortype": ""}, body).kind is FailureClass.SERVER
