"""Whole answers in Anthropic's form."""

import json
from typing import Any

import pytest

from tests.gateway.anthropic.callers import (
    CALLER,
    TOOL,
    Json,
    assistant,
    delta,
    fragment,
    message,
    read,
    talk,
    text,
    tool_result,
    tool_use,
    user,
)
from tollkeeper.contracts.chat import Chunk, Usage
from tollkeeper.core.errors import (
    BadRequest,
    DependencyUnavailable,
    Forbidden,
    InsufficientQuota,
    ModelNotFound,
    NoTargetAvailable,
    PayloadTooLarge,
    RateLimited,
    TollkeeperError,
    Unauthenticated,
    UpstreamError,
    UpstreamTimeout,
)
from tollkeeper.gateway.dialects.anthropic_messages.write_headers import headers_of, read_duration


def answer(said: Json, finish: str = "stop", usage: Usage | None = None, **fields: Any) -> Json:
    call = read(message(stop_sequences=["END"]))
    call.estimated_input_tokens = 7
    data = {
        "id": "chatcmpl-9",
        "model": "vendors-model",
        "choices": [{"index": 0, "message": {"role": "assistant", **said}, "finish_reason": finish, **fields}],
    }
    chunk = Chunk(data, usage=usage or Usage(10, output=5), is_final=True)
    document: Json = json.loads(CALLER.write_whole(chunk, call))
    return document


def test_text_is_a_message() -> None:
    assert answer({"content": "Hello."}) == {
        "id": "msg_9",
        "type": "message",
        "role": "assistant",
        "model": "vendors-model",
        "content": [{"type": "text", "text": "Hello."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 5,
            "service_tier": "standard",
        },
    }


def test_parallel_calls_of_tools_are_blocks_with_objects() -> None:
    calls = [
        {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "functions.g:0", "type": "function", "function": {"name": "g", "arguments": ""}},
    ]
    document = answer({"content": "Look.", "tool_calls": calls}, "stop")
    assert document["stop_reason"] == "tool_use"
    assert document["content"][0] == {"type": "text", "text": "Look."}
    assert document["content"][1] == {"type": "tool_use", "id": "call_a", "name": "f", "input": {"x": 1}}
    assert document["content"][2]["input"] == {}
    assert document["content"][2]["id"].startswith("toolu_")
    assert document == answer({"content": "Look.", "tool_calls": calls}, "stop"), "an id is made the same again"


def test_arguments_cut_in_the_middle_are_not_taken_for_a_call_that_can_be_made() -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":'}}]
    document = answer({"content": None, "tool_calls": calls}, "length")
    assert document["stop_reason"] == "max_tokens"
    assert document["content"][0]["input"] == {"unparsed_arguments": '{"x":'}


@pytest.mark.parametrize(
    ("finish", "reason"), [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal")]
)
def test_reasons(finish: str, reason: str) -> None:
    assert answer({"content": "a"}, finish)["stop_reason"] == reason


def test_refusal_is_a_text_and_a_reason() -> None:
    document = answer({"content": None, "refusal": "I won't."})
    assert (document["content"], document["stop_reason"]) == ([{"type": "text", "text": "I won't."}], "refusal")
    assert document["stop_details"]["type"] == "refusal"


def test_sequence_that_a_server_names_is_shown_and_no_other() -> None:
    document = answer({"content": "a"}, stop_reason="END")
    assert (document["stop_reason"], document["stop_sequence"]) == ("stop_sequence", "END")
    assert answer({"content": "a"}, stop_reason=128001)["stop_sequence"] is None


def test_usage_keeps_the_classes_apart() -> None:
    usage = Usage(10, cache_read=1000, cache_write=60, cache_write_1h=40, output=5, reasoning=20)
    shown = answer({"content": "a"}, usage=usage)["usage"]
    assert shown["input_tokens"] == 10
    assert shown["cache_read_input_tokens"] == 1000
    assert shown["cache_creation_input_tokens"] == 100
    assert shown["cache_creation"] == {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40}
    assert shown["output_tokens"] == 25
    assert shown["output_tokens_details"] == {"thinking_tokens": 20}


def test_usage_nobody_told_is_estimated() -> None:
    call = read(message())
    call.estimated_input_tokens = 7
    chunk = Chunk({"choices": [{"message": {"content": "a" * 9}, "finish_reason": "stop"}]}, text_length=9)
    usage = json.loads(CALLER.write_whole(chunk, call))["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (7, 3)


def test_thoughts_come_first_signed_or_not() -> None:
    signed = {"type": "reasoning.text", "text": "Hm.", "signature": "s+/=", "format": "anthropic", "index": 0}
    hidden = {"type": "reasoning.encrypted", "data": "d+/=", "format": "anthropic", "index": 1}
    document = answer({"content": "a", "reasoning_content": "Hm.", "reasoning_details": [signed, hidden]})
    assert document["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "s+/="},
        {"type": "redacted_thinking", "data": "d+/="},
        {"type": "text", "text": "a"},
    ]
    for field in ("reasoning_content", "reasoning"):
        block = answer({"content": "a", field: "Hm."})["content"][0]
        assert block == {"type": "thinking", "thinking": "Hm.", "signature": ""}


DETAILS: list[Json] = [
    {"type": "reasoning.summary", "summary": "Hm.", "id": "rs_1", "format": "openai", "index": 0},
    {"type": "reasoning.encrypted", "data": "gAAA+/==", "id": "rs_1", "format": "openai", "index": 1},
    {"type": "reasoning.text", "text": "So.", "signature": "x+/=", "format": "gemini", "index": 2},
]
EXTRA = {"google": {"thought_signature": "Z2VtaW5p+/=="}}


def test_signatures_of_other_vendors_come_back_from_a_client_that_knows_nothing_of_them() -> None:
    calls = [
        {
            "id": "call_a",
            "type": "function",
            "function": {"name": "f", "arguments": "{}"},
            "extra_content": EXTRA,
        }
    ]
    content = answer({"content": None, "reasoning_details": DETAILS, "tool_calls": calls}, "tool_calls")["content"]
    assert [block["type"] for block in content] == [
        "thinking",
        "redacted_thinking",
        "thinking",
        "redacted_thinking",
        "tool_use",
    ]
    call = read(talk(user(text("a")), assistant(*content), user(tool_result("call_a"))))
    turn = call.body["messages"][1]
    assert turn["reasoning_details"] == DETAILS
    assert turn["tool_calls"][0]["extra_content"] == EXTRA
    # Anthropic would refuse what it has not signed.
    assert call.native is not None
    assert [block["type"] for block in call.native["messages"][1]["content"]] == ["tool_use"]


def test_thought_without_a_signature_is_not_sent_to_who_asks_for_one() -> None:
    content = answer({"content": "a", "reasoning_content": "Hm."})["content"]
    call = read(talk(user(text("a")), assistant(*content), user(text("b"))))
    assert call.body["messages"][1]["reasoning_content"] == "Hm."
    assert call.native is not None
    assert call.native["messages"][1]["content"] == [text("a")]


@pytest.mark.parametrize(
    "signature", ["tk1.", "tk1.!!!!", "tk1.e30", "tk1.eyJ0eXBlIjoxfQ", "tk1." + "W" * 999, "tk1.ü"]
)
def test_envelope_that_is_not_ours_is_refused(signature: str) -> None:
    for block in (
        {"type": "thinking", "thinking": "a", "signature": signature},
        {"type": "redacted_thinking", "data": signature},
    ):
        with pytest.raises(BadRequest) as refusal:
            read(talk(user(text("a")), assistant(block, text("b")), user(text("c"))))
        assert (refusal.value.param or "").startswith("messages[1].content[0].")


def test_names_too_long_for_others_are_shortened_and_come_back() -> None:
    long = "mcp__" + "a" * 100
    call = read(
        talk(
            user(text("a")),
            assistant(tool_use("x", long)),
            user(tool_result("x")),
            tools=[{**TOOL, "name": long}, {**TOOL, "name": long + "b"}, TOOL],
            tool_choice={"type": "tool", "name": long},
        )
    )
    names = [tool["function"]["name"] for tool in call.body["tools"]]
    assert len(set(names)) == 3
    assert max(map(len, names)) == 64
    assert call.body["messages"][1]["tool_calls"][0]["function"]["name"] == names[0]
    assert call.body["tool_choice"]["function"]["name"] == names[0]
    said = {"tool_calls": [{"id": "y", "type": "function", "function": {"name": names[1], "arguments": "{}"}}]}
    whole = Chunk({"choices": [{"message": said, "finish_reason": "tool_calls"}]})
    assert json.loads(CALLER.write_whole(whole, call))["content"][0]["name"] == long + "b"
    writer = CALLER.writer(call)
    streamed = writer.batch([delta({"tool_calls": [fragment(0, "{}", call_id="y", name=names[1])]})])
    assert f'"name":"{long}b"'.encode() in streamed


def test_sources_are_citations_and_are_taken_back_out() -> None:
    cited = {
        "type": "url_citation",
        "url_citation": {"url": "https://x.test", "title": "X", "start_index": 0, "end_index": 2},
    }
    content = answer({"content": "abc", "annotations": [cited]})["content"]
    assert content[0]["citations"] == [
        {
            "type": "web_search_result_location",
            "url": "https://x.test",
            "title": "X",
            "cited_text": "ab",
            "encrypted_index": "",
        }
    ]
    call = read(talk(user(text("a")), assistant(*content), user(text("b"))))
    assert call.native is not None
    assert call.native["messages"][1]["content"] == [text("abc")]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (BadRequest("a", param="messages"), 400, "invalid_request_error"),
        (Unauthenticated("a"), 401, "authentication_error"),
        (InsufficientQuota("a", status=402), 402, "billing_error"),
        (InsufficientQuota("a"), 429, "rate_limit_error"),
        (Forbidden("a"), 403, "permission_error"),
        (ModelNotFound("a"), 404, "not_found_error"),
        (PayloadTooLarge("a"), 413, "request_too_large"),
        (RateLimited("a"), 429, "rate_limit_error"),
        (TollkeeperError("a"), 500, "api_error"),
        (UpstreamError("a"), 502, "api_error"),
        (UpstreamError("a", status=503), 529, "overloaded_error"),
        (NoTargetAvailable("a"), 529, "overloaded_error"),
        (NoTargetAvailable("a", should_retry=False), 503, "api_error"),
        (DependencyUnavailable("a"), 503, "api_error"),
        (UpstreamTimeout("a"), 504, "timeout_error"),
    ],
)
def test_errors_have_anthropics_words_and_our_code(error: TollkeeperError, status: int, kind: str) -> None:
    document = json.loads(CALLER.write_error(error, "req_1"))
    details = {"error_code": error.code} if error.param is None else {"error_code": error.code, "param": error.param}
    assert document == {
        "type": "error",
        "error": {"type": kind, "message": "a", "details": details},
        "request_id": "req_1",
    }
    assert CALLER.status(error) == status


def test_limits_are_told_by_anthropics_headers() -> None:
    shown = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1m0s",
        "x-tollkeeper-cost-usd": "1",
    }
    assert headers_of("req_1", shown, lambda: 1_700_000_000.0) == {
        "request-id": "req_1",
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "59",
        "anthropic-ratelimit-requests-reset": "2023-11-14T22:14:20Z",
    }
    assert headers_of("req_1", {}) == {"request-id": "req_1"}


@pytest.mark.parametrize(
    ("text", "seconds"), [("12ms", 0.012), ("1.5s", 1.5), ("6m0s", 360), ("1h2m3.5s", 3723.5), ("", 0), ("x", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert read_duration(text) == pytest.approx(seconds)
