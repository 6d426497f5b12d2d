"""Gemini's answers, whole and streamed, as canonical ones: text, thoughts, calls, endings, usage, and what is none."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.gateway.gemini.wire import PNG, SIGNATURE, USAGE, answer, call, candidate, error, event, response
from tollkeeper.contracts.chat import Call, Chunk, Operation
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.assemble import assemble
from tollkeeper.gateway.dialects.gemini import GeminiVendor

Json = dict[str, Any]
VENDOR = GeminiVendor()


def asked(*, native: bool = False, **fields: Any) -> Call:
    body = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "Hi."}], **fields}
    found = Call(Operation.CHAT, "gemini-2.5-flash", is_stream=False, body=body, wants_usage=True)
    if native:
        found.dialect, found.native = "gemini", {"contents": []}
    return found


def whole(document: Any, **fields: Any) -> Chunk:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return VENDOR.read_whole(body, asked(**fields))


def choice_of(document: Any, **fields: Any) -> Json:
    (choice,) = whole(document, **fields).data["choices"]
    found: Json = choice
    return found


async def streamed(*pieces: bytes, **fields: Any) -> list[Chunk]:
    async def reads() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return [chunk async for batch in VENDOR.read_stream(reads(), asked(**fields)) for chunk in batch]


def stream_of(*documents: Any, **fields: Any) -> list[Chunk]:
    return asyncio.run(streamed(*(event(document) for document in documents), **fields))


def deltas(chunks: list[Chunk]) -> list[tuple[Json, str | None]]:
    return [
        (choice["delta"], choice["finish_reason"]) for chunk in chunks for choice in chunk.data.get("choices") or ()
    ]


def test_plain_answer() -> None:
    chunk = whole(answer("Hello."))
    assert chunk.data == {
        "id": "r-1",
        "object": "chat.completion",
        "created": chunk.data["created"],
        "model": "gemini-2.5-flash",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello.", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": chunk.data["usage"],
    }
    assert chunk.is_final
    assert chunk.is_content
    assert chunk.native is None


def test_thoughts_are_output_beside_the_candidates() -> None:
    """40."""
    for chunk in (whole(answer()), stream_of(answer())[-2]):
        assert chunk.usage is not None
        assert (chunk.usage.prompt_tokens, chunk.usage.output, chunk.usage.reasoning) == (20, 198, 405)
        shown = chunk.data["usage"]
        assert (shown["completion_tokens"], shown["total_tokens"]) == (603, 623)
        assert shown["completion_tokens_details"]["reasoning_tokens"] == 405


def test_cached_tokens_stay_within_the_prompt() -> None:
    """40."""
    used = {"promptTokenCount": 100, "cachedContentTokenCount": 60, "candidatesTokenCount": 5, "totalTokenCount": 105}
    chunk = whole(answer(usage=used))
    assert chunk.usage is not None
    assert (chunk.usage.input, chunk.usage.cache_read) == (40, 60)
    assert chunk.data["usage"]["prompt_tokens"] == 100
    assert chunk.data["usage"]["prompt_tokens_details"]["cached_tokens"] == 60


def test_answer_without_usage_tells_how_long_it_is() -> None:
    chunk = whole(response(candidate({"text": "abc"}, call("f", {"a": 1}), finish="STOP"), usage=None))
    assert (chunk.usage, chunk.text_length) == (None, 3 + len('{"a":1}') + 1)


def test_calls_of_functions_have_ids_of_their_own_or_ours_and_end_in_tool_calls() -> None:
    """34: STOP is said for tool calls too."""
    choice = choice_of(response(candidate(call(args={"city": "Rome"}), call(id="theirs"), finish="STOP")))
    first, second = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert first["function"] == {"name": "weather", "arguments": '{"city":"Rome"}'}
    assert second == {"id": "theirs", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    assert first["id"].startswith("call_")


def test_names_and_custom_tools_come_back_as_the_caller_knows_them() -> None:
    """9."""
    long = "x" * 80
    tools = [
        {"type": "function", "function": {"name": long}},
        {"type": "custom", "custom": {"name": "patch"}},
    ]
    from tollkeeper.gateway.dialects.gemini.vendor_names import write_name

    document = response(candidate(call(write_name(long)), call("patch", {"input": "*** x"}), finish="STOP"))
    first, second = choice_of(document, tools=tools)["message"]["tool_calls"]
    assert first["function"]["name"] == long
    assert (second["type"], second["custom"]) == ("custom", {"name": "patch", "input": "*** x"})


def test_thoughts_and_signatures_are_kept_apart_from_the_text() -> None:
    document = response(
        candidate(
            {"text": "Hm.", "thought": True},
            {"text": "Hello.", "thoughtSignature": "of-text"},
            call(signature=SIGNATURE),
            finish="STOP",
        )
    )
    message = choice_of(document)["message"]
    assert message["content"] == "Hello."
    assert message["reasoning_content"] == "Hm."
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hm.", "index": 0, "format": "gemini"},
        {"type": "reasoning.encrypted", "data": "of-text", "format": "gemini", "index": 1},
    ]
    assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": SIGNATURE}}


def test_signatures_survive_a_round_trip_through_a_caller() -> None:
    """Whole, and put together from a stream: what comes back is what Gemini sent."""
    parts = [
        {"text": "Hm.", "thought": True, "thoughtSignature": "of-thought"},
        {"text": "I look.", "thoughtSignature": "of-text"},
        call(args={"city": "Rome"}, signature=SIGNATURE, id="a"),
    ]
    answers = [
        whole(response(candidate(*parts, finish="STOP"))),
        assemble(
            stream_of(*(response(candidate(part)) for part in parts), response(candidate(finish="STOP"))), asked()
        ),
    ]
    for found in answers:
        message = found.data["choices"][0]["message"]
        back = asked(
            messages=[{"role": "user", "content": "?"}, message, {"role": "tool", "tool_call_id": "a", "content": "x"}]
        )
        contents = json.loads(VENDOR.write_call(back))["contents"]
        assert contents[1] == {"role": "model", "parts": parts}


def test_pictures_sound_and_code_have_their_places() -> None:
    document = response(
        candidate(
            {"inlineData": {"mimeType": "image/png", "data": PNG}},
            {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "AAAA"}},
            {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
            {"somethingNew": {}},
            finish="STOP",
        )
    )
    message = choice_of(document)["message"]
    assert message["images"] == [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]
    assert message["audio"]["data"] == "AAAA"
    assert message["content"] == "\n```python\nprint(1)\n```\n\n```\n1\n```\n"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("IMAGE_RECITATION", "content_filter"),
        ("LANGUAGE", "stop"),
        ("OTHER", "stop"),
        ("A_WORD_OF_TOMORROW", "stop"),
        (None, "stop"),
    ],
)
def test_every_reason_is_one_of_five_words(reason: str | None, finish: str) -> None:
    document = response(candidate({"text": "a"}, finish=reason))
    assert choice_of(document)["finish_reason"] == finish
    if reason is not None:
        assert deltas(stream_of(document))[-1][1] == finish


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
def test_models_own_failure_is_a_stop_with_a_notice(reason: str) -> None:
    document = response({"finishReason": reason, "finishMessage": "Malformed function call: weather(", "index": 0})
    for choice in (choice_of(document), stream_of(document)[0].data["choices"][0]):
        assert choice["finish_reason"] == "stop"
        assert choice["error"] == {
            "code": reason.lower(),
            "message": "Malformed function call: weather(",
            "retryable": True,
        }


def test_filtered_answer_keeps_its_calls() -> None:
    """41."""
    choice = choice_of(response(candidate(call(), finish="SAFETY")))
    assert choice["finish_reason"] == "content_filter"
    assert len(choice["message"]["tool_calls"]) == 1


def test_blocked_prompt_is_filtered_and_its_usage_counts() -> None:
    """41."""
    used = {"promptTokenCount": 7, "totalTokenCount": 7}
    document = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": used}
    for chunk in (whole(document), assemble(stream_of(document), asked())):
        (choice,) = chunk.data["choices"]
        assert (choice["finish_reason"], choice["message"]["content"] or None) == ("content_filter", None)
        assert chunk.usage is not None
        assert chunk.usage.prompt_tokens == 7


def test_empty_block_reason_blocks_nothing() -> None:
    """41."""
    document = answer("a", promptFeedback={"blockReason": ""})
    assert choice_of(document)["message"]["content"] == "a"
    assert deltas(stream_of(document))[-1][1] == "stop"


def test_no_candidates_are_filtered_too() -> None:
    """41."""
    assert choice_of({"usageMetadata": USAGE})["finish_reason"] == "content_filter"


def test_candidate_without_content_is_kept() -> None:
    """41."""
    for content in ({}, {"content": {}}, {"content": {"role": "model"}}, {"content": None}):
        choice = choice_of(response({"finishReason": "MAX_TOKENS", "index": 0, **content}))
        assert (choice["finish_reason"], choice["message"]["content"]) == ("length", None)


def test_logprobs() -> None:
    result = {
        "chosenCandidates": [{"token": "é", "tokenId": 5, "logProbability": -0.1}],
        "topCandidates": [{"candidates": [{"token": "e", "tokenId": 6, "logProbability": -2.5}]}],
    }
    choice = choice_of(response(candidate({"text": "é"}, finish="STOP", logprobsResult=result)))
    assert choice["logprobs"] == {
        "content": [
            {
                "token": "é",
                "logprob": -0.1,
                "bytes": [195, 169],
                "top_logprobs": [{"token": "e", "logprob": -2.5, "bytes": [101]}],
            }
        ],
        "refusal": None,
    }


def test_sources_are_annotations_in_characters() -> None:
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}, 7],
        "groundingSupports": [{"segment": {"startIndex": 3, "endIndex": 8}, "groundingChunkIndices": [0, 1, 9]}],
    }
    document = response(candidate({"text": "é é b"}, finish="STOP", groundingMetadata=grounding))
    expected = {
        "type": "url_citation",
        "url_citation": {"url": "https://a.example", "title": "A", "start_index": 2, "end_index": 5},
    }
    assert choice_of(document)["message"]["annotations"] == [expected]
    chunks = stream_of(document, web_search_options={})
    assert chunks[0].data["choices"][0]["delta"]["annotations"] == [expected]


def test_several_candidates_are_choices() -> None:
    second = {**candidate({"text": "b"}, finish="MAX_TOKENS"), "index": 1}
    document = response(candidate({"text": "a"}, finish="STOP"), second)
    assert [choice["message"]["content"] for choice in whole(document).data["choices"]] == ["a", "b"]
    found = assemble(stream_of(document), asked())
    assert [(one["message"]["content"], one["finish_reason"]) for one in found.data["choices"]] == [
        ("a", "stop"),
        ("b", "length"),
    ]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"<html>502</html>", "upstream_garbage"),
        (b"", "upstream_garbage"),
        (b'{"candidates":[{"content"', "upstream_garbage"),
        ({}, "upstream_garbage"),
        ([], "upstream_garbage"),
        ({"candidates": 7}, "upstream_garbage"),
        ({"candidates": [7]}, "upstream_garbage"),
        (response(candidate(finish="STOP", content={"parts": 7})), "upstream_garbage"),
        (response(candidate(finish="STOP", content={"parts": [7]})), "upstream_garbage"),
        (error(500, "INTERNAL"), "upstream_error"),
        ([error(503, "UNAVAILABLE")], "upstream_error"),
        ({"error": "x"}, "upstream_error"),
    ],
)
def test_what_is_no_answer_is_a_named_error(document: Any, code: str) -> None:
    """42: an error in an array is one."""
    with pytest.raises(UpstreamError) as caught:
        whole(document)
    assert caught.value.code == code


def test_stream_becomes_a_stream_of_chunks() -> None:
    chunks = stream_of(
        response(candidate({"text": "Hm.", "thought": True}), usage={"promptTokenCount": 20, "totalTokenCount": 20}),
        response(candidate({"text": "Hel"})),
        response(candidate({"text": "lo"}, finish="STOP")),
    )
    assert deltas(chunks) == [
        (
            {
                "role": "assistant",
                "content": "",
                "reasoning_content": "Hm.",
                "reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "index": 0, "format": "gemini"}],
            },
            None,
        ),
        ({"content": "Hel"}, None),
        ({"content": "lo"}, None),
        ({}, "stop"),
    ]
    assert {chunk.data["id"] for chunk in chunks[:-1]} == {"r-1"}
    assert len({chunk.data["created"] for chunk in chunks[:-1]}) == 1
    assert [chunk.is_content for chunk in chunks] == [True, True, True, True, False, False]
    assert [chunk.text_length for chunk in chunks] == [3, 3, 2, 0, 0, 0]
    *_, usage, final = chunks
    assert (usage.is_hidden, usage.data["choices"]) == (False, [])
    assert usage.usage is not None
    assert usage.usage.reasoning == 405
    assert (final.is_final, final.is_hidden) == (True, True)


def test_call_and_its_ending_in_later_chunks_are_tool_calls() -> None:
    """34."""
    chunks = stream_of(
        response(candidate({"text": "I look."}, finish="STOP")),
        response(candidate(call(args={"city": "Rome"}), finish="STOP")),
        response(candidate({"text": ""}, finish="STOP")),
    )
    assert [finish for _, finish in deltas(chunks)] == [None, None, "tool_calls"]


def test_calls_in_different_chunks_are_numbered_in_order() -> None:
    """36."""
    chunks = stream_of(response(candidate(call("a"))), response(candidate(call("b"), finish="STOP")))
    calls = [delta["tool_calls"][0] for delta, _ in deltas(chunks) if "tool_calls" in delta]
    assert [(one["index"], one["function"]["name"]) for one in calls] == [(0, "a"), (1, "b")]
    assert calls[0]["id"] != calls[1]["id"]
    assert deltas(chunks)[0][0]["content"] is None


@pytest.mark.parametrize("size", [1, 17, 4096])
@pytest.mark.parametrize("cut", [0, 2, 4])
def test_stream_may_be_split_anywhere_and_lack_its_last_blank_line(size: int, cut: int) -> None:
    data = b"".join(event(response(candidate({"text": text}))) for text in ("Grüße ", "✓")) + event(answer("!"))
    data = data[: len(data) - cut]
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    found = assemble(asyncio.run(streamed(*pieces)), asked())
    assert found.data["choices"][0]["message"]["content"] == "Grüße ✓!"


def test_stream_without_an_ending_is_cut() -> None:
    for documents in ([response(candidate({"text": "a"}))], [{"usageMetadata": USAGE}], []):
        with pytest.raises(UpstreamError) as caught:
            stream_of(*documents)
        assert caught.value.code == "upstream_cut"


def test_error_in_a_stream_is_raised() -> None:
    for piece in (event(error(503, "UNAVAILABLE")), json.dumps([error(503, "UNAVAILABLE")], indent=1).encode()):
        with pytest.raises(UpstreamError) as caught:
            asyncio.run(streamed(piece))
        assert (caught.value.status, caught.value.code) == (503, "upstream_error")
    with pytest.raises(UpstreamError):
        stream_of(response(candidate({"text": "a"})), error(500, "INTERNAL"))


def test_garbage_in_a_stream_is_named() -> None:
    for piece in (b"data: {\n\n", b"data: 7\n\n", event({"candidates": 7}), event({"candidates": [7]}), b"{"):
        with pytest.raises(UpstreamError) as caught:
            asyncio.run(streamed(piece))
        assert caught.value.code == "upstream_garbage"


def test_array_in_the_place_of_events_is_read() -> None:
    body = json.dumps([response(candidate({"text": "a"})), answer("b")], indent=1).encode()
    for native in (False, True):
        chunks = asyncio.run(streamed(body[:9], body[9:], native=native))
        assert assemble(chunks, asked()).data["choices"][0]["message"]["content"] == "ab"
        assert all(chunk.native is None for chunk in chunks)


def test_relayed_stream_keeps_its_bytes_once() -> None:
    documents = [response(candidate({"text": "a"})), response(candidate({"hologram": 1})), answer("b")]
    chunks = stream_of(*documents, native=True)
    assert b"".join(chunk.native or b"" for chunk in chunks) == b"".join(map(event, documents))
    assert all(chunk.native is not None for chunk in chunks)
    assert assemble(chunks, asked()).data["choices"][0]["message"]["content"] == "ab"


def test_relayed_answer_keeps_its_bytes() -> None:
    body = json.dumps(answer(), indent=1).encode()
    assert VENDOR.read_whole(body, asked(native=True)).native == body


def test_usage_that_is_none_is_left_to_whoever_doubts_it() -> None:
    broken = {"promptTokenCount": -5}
    assert whole(answer(usage=broken)).usage is None
    final = stream_of(answer(usage=broken))[-1]
    assert final.data["usage"] == broken


def test_arguments_that_nest_too_deep_are_garbage() -> None:
    body = json.dumps(response(candidate(call(args={"a": "DEEP"}), finish="STOP"))).encode()
    body = body.replace(b'"DEEP"', b"[" * 400 + b"]" * 400)
    with pytest.raises(UpstreamError) as caught:
        VENDOR.read_whole(body, asked())
    assert caught.value.code == "upstream_garbage"
