"""Canonical answers for a Gemini client: whole, as events and as one array, with errors in Google's shape."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.gateway.gemini.wire import SIGNATURE
from tollkeeper.contracts.chat import Call, Chunk, Operation, Usage
from tollkeeper.core.errors import (
    BadRequest,
    DependencyUnavailable,
    Forbidden,
    InsufficientQuota,
    ModelNotFound,
    RateLimited,
    TollkeeperError,
    Unauthenticated,
    UpstreamError,
    UpstreamTimeout,
)
from tollkeeper.gateway.dialects.gemini import GeminiArray, GeminiCaller, GeminiStream, foreign
from tollkeeper.gateway.openai_usage import write_usage

Json = dict[str, Any]
USED = Usage(input=10, cache_read=5, output=3, reasoning=4)


def asked(*, thoughts: bool = False, **fields: Any) -> Call:
    native: Json = {"contents": []}
    if thoughts:
        native["generationConfig"] = {"thinkingConfig": {"includeThoughts": True}}
    body = {"model": "m", "messages": [], **fields}
    return Call(Operation.CHAT, "m", is_stream=True, body=body, wants_usage=True, dialect="gemini", native=native)


def whole(message: Json, finish: str = "stop", *, thoughts: bool = False, **fields: Any) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, **fields}
    data = {"id": "chatcmpl-1", "model": "gpt-4o", "choices": [choice], "usage": write_usage(USED)}
    found: Json = json.loads(GeminiCaller().write_whole(Chunk(data, usage=USED), asked(thoughts=thoughts)))
    return found


def candidate_of(message: Json, finish: str = "stop", **fields: Any) -> Json:
    (candidate,) = whole(message, finish, **fields)["candidates"]
    found: Json = candidate
    return found


def chunk(delta: Json, finish: str | None = None, index: int = 0, **fields: Any) -> Chunk:
    choice = {"index": index, "delta": delta, "finish_reason": finish, **fields}
    return Chunk({"id": "chatcmpl-1", "model": "gpt-4o", "choices": [choice]}, is_content=True)


def usage() -> Chunk:
    data = {"id": "chatcmpl-1", "model": "gpt-4o", "choices": [], "usage": write_usage(USED)}
    return Chunk(data, usage=USED)


FINAL = Chunk({}, is_hidden=True, is_final=True)


def events(chunks: Sequence[Chunk], **fields: Any) -> list[Json]:
    writer = GeminiStream().writer(asked(**fields))
    data = b"".join(writer.batch([one]) for one in chunks) + writer.end("x-tollkeeper-cost-usd 1")
    assert b"\n:" not in data
    return [json.loads(block.removeprefix(b"data: ")) for block in data.split(b"\r\n\r\n") if block]


def parts(documents: list[Json]) -> list[Json]:
    return [
        part for one in documents for candidate in one.get("candidates", ()) for part in candidate["content"]["parts"]
    ]


def test_plain_answer() -> None:
    assert whole({"content": "Hello."}) == {
        "candidates": [
            {"content": {"parts": [{"text": "Hello."}], "role": "model"}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": {
            "promptTokenCount": 15,
            "candidatesTokenCount": 3,
            "thoughtsTokenCount": 4,
            "cachedContentTokenCount": 5,
            "totalTokenCount": 22,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 15}],
        },
        "modelVersion": "gpt-4o",
        "responseId": "chatcmpl-1",
    }


def test_calls_of_functions() -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
        {
            "id": "c",
            "type": "custom",
            "custom": {"name": "h", "input": "x"},
            "extra_content": {"google": {"thought_signature": SIGNATURE}},
        },
    ]
    candidate = candidate_of({"content": None, "tool_calls": calls}, "tool_calls")
    assert candidate["finishReason"] == "STOP"
    assert candidate["content"]["parts"] == [
        {"functionCall": {"name": "f", "args": {"a": 1}, "id": "a"}},
        {"functionCall": {"name": "g", "args": {}, "id": "b"}},
        {"functionCall": {"name": "h", "args": {"input": "x"}, "id": "c"}, "thoughtSignature": SIGNATURE},
    ]


def test_call_that_cannot_be_read_is_a_malformed_one() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    candidate = candidate_of({"content": None, "tool_calls": [call]}, "tool_calls")
    assert candidate["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert candidate["finishMessage"] == 'Malformed function call: f({"a":)'
    found = events([chunk({"tool_calls": [{"index": 0, **call}]}), chunk({}, "tool_calls"), usage(), FINAL])
    assert found[-1]["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "STOP"),
        ("length", "MAX_TOKENS"),
        ("content_filter", "SAFETY"),
        ("function_call", "STOP"),
        ("x", "OTHER"),
    ],
)
def test_endings(finish: str, reason: str) -> None:
    assert candidate_of({"content": "a"}, finish)["finishReason"] == reason


def test_notice_of_a_failed_model_keeps_its_word() -> None:
    notice = {"code": "unexpected_tool_call", "message": "No such function.", "retryable": True}
    candidate = candidate_of({"content": None}, "stop", error=notice)
    assert (candidate["finishReason"], candidate["finishMessage"]) == ("UNEXPECTED_TOOL_CALL", "No such function.")


def test_thoughts_are_shown_to_who_asked() -> None:
    message = {"content": "Hello.", "reasoning_content": "Hm."}
    shown = candidate_of(message, thoughts=True)["content"]["parts"]
    assert shown == [{"text": "Hm.", "thought": True}, {"text": "Hello."}]
    assert candidate_of(message)["content"]["parts"] == [{"text": "Hello."}]


def test_geminis_own_signatures_stand_where_they_belong() -> None:
    details = [
        {"type": "reasoning.text", "text": "Hm.", "signature": "of-thought", "format": "gemini", "index": 0},
        {"type": "reasoning.encrypted", "data": "of-text", "format": "gemini", "index": 1},
    ]
    message = {"content": "Hello.", "reasoning_content": "Hm.", "reasoning_details": details}
    assert candidate_of(message, thoughts=True)["content"]["parts"] == [
        {"text": "Hm.", "thought": True, "thoughtSignature": "of-thought"},
        {"text": "Hello.", "thoughtSignature": "of-text"},
    ]


def test_another_vendors_thoughts_ride_on_a_signature() -> None:
    """In a stream they come in pieces; what comes back is whole."""
    details = [{"type": "reasoning.text", "text": "Hm, hm.", "format": "anthropic", "index": 0, "signature": "sig=="}]
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    (said, called) = candidate_of({"content": "I look.", "tool_calls": [call], "reasoning_details": details})[
        "content"
    ]["parts"]
    assert "thoughtSignature" not in said
    assert foreign.unwrap(called["thoughtSignature"]) == details
    found = events(
        [
            chunk({"reasoning_details": [{"type": "reasoning.text", "text": "Hm", "format": "anthropic", "index": 0}]}),
            chunk({"reasoning_details": [{"type": "reasoning.text", "text": ", hm.", "index": 0}]}),
            chunk({"reasoning_details": [{"type": "reasoning.text", "index": 0, "signature": "sig=="}]}),
            chunk({"content": "Hello."}),
            chunk({}, "stop"),
            usage(),
            FINAL,
        ]
    )
    assert foreign.unwrap(parts(found)[-1]["thoughtSignature"]) == details


def test_pictures_sources_and_logprobs() -> None:
    message = {
        "content": "é x",
        "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, 7],
        "audio": {"id": "a", "data": "BBBB", "format": "audio/L16"},
        "annotations": [
            {
                "type": "url_citation",
                "url_citation": {"url": "https://a", "title": "A", "start_index": 2, "end_index": 3},
            }
        ],
    }
    logprobs = {"content": [{"token": "é", "logprob": -1, "top_logprobs": [{"token": "e", "logprob": -2}]}]}
    candidate = candidate_of(message, logprobs=logprobs)
    assert candidate["content"]["parts"][1:] == [
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"inlineData": {"mimeType": "audio/L16", "data": "BBBB"}},
    ]
    assert candidate["groundingMetadata"] == {
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}],
        "groundingSupports": [{"segment": {"startIndex": 3, "endIndex": 4}, "groundingChunkIndices": [0]}],
    }
    assert candidate["logprobsResult"] == {
        "chosenCandidates": [{"token": "é", "logProbability": -1}],
        "topCandidates": [{"candidates": [{"token": "e", "logProbability": -2}]}],
    }


def test_refusal_is_text() -> None:
    assert candidate_of({"content": None, "refusal": "No."})["content"]["parts"] == [{"text": "No."}]


def test_stream_tells_its_ending_and_usage_last() -> None:
    found = events(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, "stop"),
            usage(),
            FINAL,
        ]
    )
    assert [one["text"] for one in parts(found)] == ["Hel", "lo", ""]
    assert all(one["responseId"] == "chatcmpl-1" and one["modelVersion"] == "gpt-4o" for one in found)
    assert ["finishReason" in one["candidates"][0] for one in found] == [False, False, True]
    assert ["usageMetadata" in one for one in found] == [False, False, True]


def test_stream_without_usage_still_ends() -> None:
    found = events([chunk({"content": "a"}), chunk({"content": "b"}, "length"), FINAL])
    assert found[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert [one["text"] for one in parts(found)] == ["a", "b"]


def test_calls_leave_whole_and_in_order() -> None:
    """27, the other way round: pieces become one call."""

    def piece(index: int, **inner: Any) -> Json:
        return {"index": index, "type": "function", "function": inner}

    found = events(
        [
            chunk(
                {"role": "assistant", "content": None, "tool_calls": [{"id": "a", **piece(0, name="f", arguments="")}]}
            ),
            chunk({"tool_calls": [piece(0, arguments='{"a"')]}),
            chunk({"tool_calls": [piece(0, arguments=":1}")]}),
            chunk({"tool_calls": [{"id": "b", **piece(1, name="g", arguments="{}")}]}),
            chunk({}, "tool_calls"),
            usage(),
            FINAL,
        ]
    )
    assert parts(found) == [
        {"functionCall": {"name": "f", "args": {"a": 1}, "id": "a"}},
        {"functionCall": {"name": "g", "args": {}, "id": "b"}},
    ]
    assert len(found) == 1


def test_several_choices_are_candidates() -> None:
    found = events(
        [
            chunk({"content": "a"}),
            chunk({"content": "b"}, index=1),
            chunk({}, "stop"),
            chunk({}, "length", index=1),
            usage(),
            FINAL,
        ]
    )
    assert [(one["index"], one["finishReason"]) for one in found[-1]["candidates"]] == [(0, "STOP"), (1, "MAX_TOKENS")]


def test_thoughts_in_a_stream() -> None:
    found = events([chunk({"reasoning": "Hm."}), chunk({"content": "a"}, "stop"), FINAL], thoughts=True)
    assert parts(found)[0] == {"text": "Hm.", "thought": True}


def test_relayed_events_pass_as_they_are_and_once() -> None:
    frames = [b'data: {"candidates": [1]}\r\n\r\n', b"", b'data: {"x": 2}\r\n\r\n']
    chunks = [Chunk({"choices": [{"index": 0, "delta": {"content": "a"}}]}, native=frame) for frame in frames]
    writer = GeminiStream().writer(asked())
    assert writer.batch(chunks) + writer.batch([FINAL]) + writer.end(None) == b"".join(frames)
    array = GeminiArray().writer(asked())
    assert json.loads(array.batch(chunks) + array.end(None)) == [{"candidates": [1]}, {"x": 2}]


def test_stream_that_was_relayed_may_end_in_our_words() -> None:
    """Where a budget cuts it."""
    first = Chunk({"id": "r", "model": "m", "choices": []}, native=b'data: {"x":1}\r\n\r\n')
    found = events([first, chunk({}, "length"), usage(), FINAL])
    assert found[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_array_is_one_document_whatever_happens() -> None:
    def array(*batches: Sequence[Chunk]) -> bytes:
        writer = GeminiArray().writer(asked())
        return b"".join(map(writer.batch, batches)) + writer.end("cost")

    assert json.loads(array([chunk({"content": "a"})], [chunk({}, "stop"), usage()], [FINAL]))[0]["candidates"]
    assert json.loads(array([FINAL])) == []
    writer = GeminiArray().writer(asked())
    assert writer.content_type.startswith("application/json")
    assert writer.keep_alive.strip() == b""
    failed = writer.keep_alive + writer.batch([chunk({"content": "a"})]) + writer.keep_alive
    failed += writer.error(UpstreamError("Cut.", code="upstream_cut"), "req_1")
    assert json.loads(failed)[-1]["error"]["status"] == "UNAVAILABLE"
    assert json.loads(GeminiArray().writer(asked()).error(UpstreamError("Cut."), "req_1"))[0]["error"]["code"] == 502


def test_error_in_a_stream_is_one_that_googles_sdk_raises() -> None:
    data = GeminiStream().writer(asked()).error(UpstreamError("Cut.", code="upstream_cut"), "req_1")
    assert data.startswith(b'data: {"error":')
    assert data.endswith(b"\r\n\r\n")


def test_keep_alive_is_no_event_for_googles_clients() -> None:
    assert GeminiStream().writer(asked()).keep_alive.strip() == b""


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (BadRequest("x"), 400, "INVALID_ARGUMENT"),
        (Unauthenticated("x"), 401, "UNAUTHENTICATED"),
        (InsufficientQuota("x", status=402), 402, "RESOURCE_EXHAUSTED"),
        (Forbidden("x"), 403, "PERMISSION_DENIED"),
        (ModelNotFound("x"), 404, "NOT_FOUND"),
        (RateLimited("x"), 429, "RESOURCE_EXHAUSTED"),
        (TollkeeperError("x"), 500, "INTERNAL"),
        (UpstreamError("x"), 502, "UNAVAILABLE"),
        (DependencyUnavailable("x"), 503, "UNAVAILABLE"),
        (UpstreamTimeout("x"), 504, "DEADLINE_EXCEEDED"),
        (UpstreamError("x", status=418), 418, "INVALID_ARGUMENT"),
        (UpstreamError("x", status=599), 599, "INTERNAL"),
    ],
)
def test_errors_have_googles_words(error: TollkeeperError, code: int, status: str) -> None:
    dialect = GeminiCaller()
    inner = json.loads(dialect.write_error(error, "req_1"))["error"]
    assert dialect.status(error) == code
    assert (inner["code"], inner["status"], inner["message"]) == (code, status, "x")


def test_errors_tell_the_stable_code_the_place_the_id_and_when_to_try_again() -> None:
    error = BadRequest("No.", code="invalid_type", param="contents[0].role", retry_after_seconds=1.5)
    details = json.loads(GeminiCaller().write_error(error, "req_1"))["error"]["details"]
    by_type = {detail.pop("@type").rpartition(".")[2]: detail for detail in details}
    assert by_type == {
        "ErrorInfo": {
            "reason": "INVALID_TYPE",
            "domain": "tollkeeper",
            "metadata": {"code": "invalid_type", "param": "contents[0].role"},
        },
        "RequestInfo": {"requestId": "req_1"},
        "BadRequest": {"fieldViolations": [{"field": "contents[0].role", "description": "No."}]},
        "RetryInfo": {"retryDelay": "1.5s"},
    }


def test_arguments_that_nest_too_deep_are_malformed() -> None:
    deep = '{"a":' * 400 + "1" + "}" * 400
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": deep}}]
    candidate = candidate_of({"content": None, "tool_calls": calls}, "tool_calls")
    assert candidate["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert len(candidate["finishMessage"]) == 2000
