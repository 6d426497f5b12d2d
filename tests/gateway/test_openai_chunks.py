"""What vendors get wrong in answers, put right without touching what is right. Numbers are COMPATIBILITY section 10's."""

import json
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from tests.gateway.upstream import DONE, USAGE, chunk, completion, event, good_stream
from tollkeeper.contracts.chat import Call, Chunk, Operation
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.dialects.openai_completions import OpenAICompletions

CHAT = OpenAIChat()


def call(*, wants_usage: bool = False, operation: Operation = Operation.CHAT) -> Call:
    return Call(operation, "asked-model", is_stream=True, body={}, wants_usage=wants_usage)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def read(*parts: bytes, wants_usage: bool = False, dialect: Any = CHAT) -> list[Chunk]:
    return [
        chunk async for batch in dialect.read_stream(pieces(*parts), call(wants_usage=wants_usage)) for chunk in batch
    ]


def shown(chunks: list[Chunk]) -> list[dict[str, Any]]:
    """What the client parses."""
    written = CHAT.writer(call()).batch(chunks).decode()
    return [json.loads(part.removeprefix("data: ")) for part in written.split("\n\n") if part]


def deltas(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [choice["delta"] for part in shown(chunks) for choice in part["choices"]]


async def test_right_chunks_keep_their_bytes() -> None:
    sent = good_stream("a", "b")
    chunks = await read(b"".join(sent))
    assert CHAT.writer(call()).batch(chunks) == b"".join(sent[:4])
    assert [chunk.raw is not None for chunk in chunks if not chunk.is_hidden] == [True] * 4


async def test_one_id_created_and_model_for_all_chunks() -> None:
    """44: vendors without ids, with one per chunk, with changing times."""
    parts = [chunk({"role": "assistant", "content": "a"}), chunk({"content": "b"}), chunk({}, "stop")]
    parts[1] |= {"id": "other", "created": 5, "model": "other"}
    parts[2] |= {"id": "", "object": "x"}
    heads = [
        (part["id"], part["object"], part["created"], part["model"])
        for part in shown(await read(*map(event, parts), DONE))
    ]
    assert heads == [("chatcmpl-1", "chat.completion.chunk", 1700000000, "gpt-4o-mini-2024-07-18")] * 3


async def test_missing_head_is_made_once() -> None:
    parts = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": end}]}
        for text, end in [("a", None), ("b", "stop")]
    ]
    first, second = shown(await read(*map(event, parts), DONE))
    assert first["id"].startswith("chatcmpl-")
    assert first["model"] == "asked-model"
    assert isinstance(first["created"], int)
    assert {name: first[name] for name in ("id", "created", "model")} == {
        name: second[name] for name in ("id", "created", "model")
    }


async def test_role_comes_once_and_first() -> None:
    """45."""
    missing = await read(event(chunk({"content": "a"})), event(chunk({"content": "b"})), event(chunk({}, "stop")), DONE)
    assert [delta.get("role") for delta in deltas(missing)] == ["assistant", None, None]
    repeated = await read(
        *(event(chunk({"role": "assistant", "content": text})) for text in "ab"), event(chunk({}, "stop")), DONE
    )
    assert deltas(repeated) == [{"role": "assistant", "content": "a"}, {"content": "b"}, {}]


async def test_role_is_told_per_choice() -> None:
    def both(first: dict[str, Any], second: dict[str, Any]) -> bytes:
        part = chunk({})
        part["choices"] = [
            {"index": at, "delta": delta, "finish_reason": None} for at, delta in enumerate((first, second))
        ]
        return event(part)

    chunks = await read(both({"role": "assistant"}, {"content": "b"}), both({"content": "c"}, {"content": "d"}), DONE)
    assert [delta.get("role") for delta in deltas(chunks)] == ["assistant", "assistant", None, None]


async def test_usage_is_shown_to_who_asked_in_a_chunk_of_its_own() -> None:
    """46, also for vendors that put usage into the last chunk, or cumulatively into every one."""
    parts = [
        chunk(
            {"role": "assistant", "content": "a"},
            usage={"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11},
        ),
        chunk({}, "stop", usage=USAGE),
    ]
    asked = await read(*map(event, parts), DONE, wants_usage=True)
    *others, last = shown(asked)
    assert [part["usage"] for part in others] == [None, None]
    assert (last["choices"], last["usage"]) == ([], USAGE)
    unasked = await read(*map(event, parts), DONE)
    assert ["usage" in part for part in shown(unasked)] == [False, False]
    assert shown(unasked)[-1]["choices"][0]["finish_reason"] == "stop"
    assert [part.usage.completion_tokens for part in unasked if part.usage] == [5]


async def test_groqs_usage_is_found() -> None:
    chunks = await read(event(chunk({"content": "a"}, "stop")), event(chunk(None, x_groq={"usage": USAGE})), DONE)
    assert [part.usage.prompt_tokens for part in chunks if part.usage] == [10]


async def test_azures_odd_chunks_do_not_reach_the_client() -> None:
    """48."""
    first = {"choices": [], "id": "", "model": "", "object": "", "created": 0, "prompt_filter_results": [{}]}
    offsets = chunk({})
    offsets["choices"] = [{"index": 0, "content_filter_offsets": {}, "finish_reason": None}]
    chunks = await read(event(first), *good_stream("a")[:2], event(offsets), *good_stream()[1:])
    assert [part["id"] for part in shown(chunks)] == ["chatcmpl-1"] * 3
    assert [delta.get("content") for delta in deltas(chunks)] == ["", "a", None]


@pytest.mark.parametrize(
    "data",
    [
        {"choices": [], "error": {"message": "no", "code": 502}},
        {"error": "no"},
        {"object": "error", "message": "no", "type": "BadRequestError", "code": 400},
        {"type": "error", "error": {"type": "overloaded_error", "message": "no"}},
        {"error": {"message": "no"}, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]},
    ],
)
async def test_error_under_200_is_an_error(data: dict[str, Any]) -> None:
    """49."""
    with pytest.raises(UpstreamError) as refused:
        await read(event(data))
    assert refused.value.message == "no"
    with pytest.raises(UpstreamError):
        CHAT.read_whole(orjson.dumps(data), call())


async def test_null_error_is_taken_out() -> None:
    chunks = await read(event(chunk({"content": "a"}, error=None)), event(chunk({}, "stop")), DONE)
    assert ["error" in part for part in shown(chunks)] == [False, False]


async def test_reasoning_stays_under_the_name_the_vendor_gave_it() -> None:
    """53."""
    parts = [
        chunk({"role": "assistant", "reasoning_content": "hm"}),
        chunk({"reasoning": "so"}),
        chunk({"content": "a"}, "stop"),
    ]
    chunks = await read(*map(event, parts), DONE)
    assert deltas(chunks) == [part["choices"][0]["delta"] for part in parts]
    assert [part.text_length for part in chunks] == [2, 2, 1, 0]
    assert all(part.is_content for part in chunks[:3])


def tool(index: int | None, **fields: Any) -> dict[str, Any]:
    return {"tool_calls": [{**({} if index is None else {"index": index}), **fields}]}


def calls_of(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [part for delta in deltas(chunks) for part in delta.get("tool_calls", ())]


def assemble(chunks: list[Chunk]) -> list[tuple[str, str, str]]:
    """As a client adds fragments up: strings are concatenated, whatever they are."""
    made: list[dict[str, str]] = []
    for part in calls_of(chunks):
        if part["index"] == len(made):
            made.append({"id": "", "name": "", "arguments": ""})
        into = made[part["index"]]
        into["id"] += part.get("id", "")
        into["name"] += part.get("function", {}).get("name", "")
        into["arguments"] += part.get("function", {}).get("arguments", "")
    return [(one["id"], one["name"], one["arguments"]) for one in made]


async def test_good_tool_fragments_keep_their_bytes() -> None:
    parts = [
        {
            "role": "assistant",
            "content": None,
            **tool(0, id="c1", type="function", function={"name": "f", "arguments": ""}),
        },
        tool(0, function={"arguments": '{"a":'}),
        tool(0, function={"arguments": "1}"}),
        tool(1, id="c2", type="function", function={"name": "g", "arguments": ""}),
        tool(1, function={"arguments": "{}"}),
    ]
    chunks = await read(*(event(chunk(part)) for part in parts), event(chunk({}, "tool_calls")), DONE)
    assert all(part.raw is not None for part in chunks if not part.is_hidden)
    assert assemble(chunks) == [("c1", "f", '{"a":1}'), ("c2", "g", "{}")]


@pytest.mark.parametrize(
    "parts",
    [
        # no index
        [tool(None, id="c1", type="function", function={"name": "f", "arguments": "{}"}),
         tool(None, id="c2", type="function", function={"name": "g", "arguments": "{}"})],
        # from 1, with a gap
        [tool(1, id="c1", type="function", function={"name": "f", "arguments": "{}"}),
         tool(3, id="c2", type="function", function={"name": "g", "arguments": "{}"})],
        # 36: every call is number 0
        [tool(0, id="c1", type="function", function={"name": "f", "arguments": "{}"}),
         tool(0, id="c2", type="function", function={"name": "g", "arguments": "{}"})],
        # id, type and name with every fragment
        [tool(0, id="c1", type="function", function={"name": "f", "arguments": "{"}),
         tool(0, id="c1", type="function", function={"name": "f", "arguments": "}"}),
         tool(1, id="c2", type="function", function={"name": "g", "arguments": "{}"})],
        # 55: arguments as an object, or none at first
        [tool(0, id="c1", function={"name": "f", "arguments": {}}),
         tool(1, id="c2", function={"name": "g", "arguments": None}), tool(1, function={"arguments": "{}"})],
        # no type, null type
        [tool(0, id="c1", function={"name": "f", "arguments": "{}"}),
         tool(1, id="c2", type=None, function={"name": "g", "arguments": "{}"})],
    ],
)  # fmt: skip
async def test_tool_fragments_are_numbered_and_named_once(parts: list[dict[str, Any]]) -> None:
    chunks = await read(*(event(chunk(part)) for part in parts), event(chunk({}, "tool_calls")), DONE)
    assert assemble(chunks) == [("c1", "f", "{}"), ("c2", "g", "{}")]
    firsts = {part["index"]: part for part in reversed(calls_of(chunks))}
    assert all(part["type"] == "function" for part in firsts.values())


async def test_tool_call_without_an_id_gets_one() -> None:
    chunks = await read(
        event(chunk(tool(0, function={"name": "f", "arguments": "{}"}))), event(chunk({}, "tool_calls")), DONE
    )
    ((name, *_),) = assemble(chunks)
    assert name.startswith("call_")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"), ("SAFETY", "content_filter"), ("MAX_TOKENS", "length"), ("model_length", "length"),
        ("end_turn", "stop"), ("eos", "stop"), ("tool_use", "tool_calls"), ("whatever", "stop"), ("STOP", "stop"), (7, "stop"),
    ],
)  # fmt: skip
async def test_finish_reason_is_one_of_openais_words(theirs: Any, ours: str) -> None:
    """42."""
    chunks = await read(event(chunk({"content": "a"})), event(chunk({}, theirs)), DONE)
    assert shown(chunks)[-1]["choices"][0]["finish_reason"] == ours
    document = completion()
    document["choices"][0]["finish_reason"] = theirs
    whole = CHAT.read_whole(orjson.dumps(document), call())
    assert whole.data["choices"][0]["finish_reason"] == ours


async def test_choice_without_index_delta_or_reason_is_completed() -> None:
    part = chunk({})
    part["choices"] = [{"delta": {"content": "a"}}]
    last = chunk({})
    last["choices"] = [{"index": 0, "delta": None, "finish_reason": "stop"}]
    first, second = shown(await read(event(part), event(last), DONE))
    assert first["choices"] == [{"delta": {"content": "a", "role": "assistant"}, "index": 0, "finish_reason": None}]
    assert second["choices"][0]["delta"] == {}


async def test_content_in_the_last_chunk_is_kept() -> None:
    chunks = await read(event(chunk({"content": "a"})), event(chunk({"content": "b"}, "stop")), DONE)
    assert deltas(chunks)[-1] == {"content": "b"}


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b"7", b'{"choices":7}', b'{"choices":[7]}', b'{"choices":[{"delta":{"tool_calls":7}}]}']
)
async def test_garbage_in_a_stream_is_an_error(data: bytes) -> None:
    with pytest.raises(UpstreamError):
        await read(b"data: " + data + b"\n\n")


@pytest.mark.parametrize("parts", [[], [DONE], [b": only a comment\n\n"], [event(chunk({"content": "a"}))]])
async def test_stream_without_its_end_is_an_error(parts: list[bytes]) -> None:
    with pytest.raises(UpstreamError):
        await read(*parts)


async def test_batch_before_an_error_is_not_lost() -> None:
    batches = CHAT.read_stream(pieces(event(chunk({"content": "a"})) + event({"error": "x"})), call())
    seen = list(await anext(batches))
    with pytest.raises(UpstreamError):
        await anext(batches)
    assert deltas(seen) == [{"content": "a", "role": "assistant"}]


async def test_event_too_large_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tollkeeper.gateway.sse.MAX_EVENT_BYTES", 1000)
    with pytest.raises(UpstreamError):
        await read(*[b"data: " + b"x" * 400] * 4)


# Whole answers


@pytest.mark.parametrize("calls", [None, []])
def test_no_tool_calls_are_absent(calls: Any) -> None:
    document = completion()
    document["choices"][0]["message"]["tool_calls"] = calls
    whole = CHAT.read_whole(orjson.dumps(document), call())
    assert "tool_calls" not in whole.data["choices"][0]["message"]
    assert whole.raw is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(None, "{}"), ("null", "{}"), ("", "{}"), ({"a": 1}, '{"a":1}'), ('{"a": 1}', '{"a": 1}')],
)
def test_arguments_are_a_json_string(arguments: Any, expected: str) -> None:
    """55."""
    document = completion(None)
    document["choices"][0]["message"]["tool_calls"] = [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    ]
    whole = CHAT.read_whole(orjson.dumps(document), call())
    assert whole.data["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == expected
    assert (whole.raw is not None) == (arguments == expected)


def test_sparse_answer_is_completed() -> None:
    whole = CHAT.read_whole(b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"f"}}]}}]}', call())
    choice = whole.data["choices"][0]
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert (choice["message"]["role"], choice["message"]["content"]) == ("assistant", None)
    assert choice["message"]["tool_calls"][0]["id"].startswith("call_")
    assert (whole.data["object"], whole.data["model"]) == ("chat.completion", "asked-model")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[7]}', b'{"choices":[{}]}', b"\xff", b"<html>"]
)
def test_garbage_is_no_answer(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        CHAT.read_whole(body, call())


# Usage


@pytest.mark.parametrize(
    ("usage", "classes"),
    [
        (USAGE, {"input": 10, "output": 5}),
        ({"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 5, "audio_tokens": 3, "image_tokens": 2},
          "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 4}},
         {"input": 10, "cache_read": 80, "cache_write": 5, "input_audio": 3, "input_image": 2, "output": 16, "reasoning": 30, "output_audio": 4}),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4}, {"input": 6, "cache_read": 4, "output": 5}),
        ({"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 4}, {"input": 6, "cache_read": 4, "output": 5}),
        # xAI: reasoning beside the completion
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 45, "completion_tokens_details": {"reasoning_tokens": 30}},
         {"input": 10, "output": 5, "reasoning": 30}),
        # a part beyond the whole: it cannot be, so it is no discount
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 99}}, {"input": 10, "output": 5, "is_estimated": True}),
        ({"prompt_tokens": 7.0, "completion_tokens": 5}, {"input": 7, "output": 5}),
        ({"prompt_tokens": 7}, {"input": 7}),
        ({"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": None, "completion_tokens_details": {"reasoning_tokens": None}},
         {"input": 7, "output": 5}),
    ],
)  # fmt: skip
def test_usage_falls_into_disjoint_classes(usage: dict[str, Any], classes: dict[str, int]) -> None:
    counted = CHAT.read_whole(orjson.dumps(completion(usage=usage)), call()).usage
    assert counted is not None
    assert {name: getattr(counted, name) for name in counted.__slots__ if getattr(counted, name)} == classes


@pytest.mark.parametrize(
    "usage",
    [None, [], "x", {}, {"prompt_tokens": -1, "completion_tokens": 1}, {"prompt_tokens": True, "completion_tokens": 1}, {"prompt_tokens": 1.5}, {"prompt_tokens": 10**12}, {"prompt_tokens": "7"}],
)  # fmt: skip
def test_usage_that_cannot_be_true_is_not_believed(usage: Any) -> None:
    assert CHAT.read_whole(orjson.dumps(completion(usage=usage)), call()).usage is None


# Completions


def text_part(text: str | None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choices = [] if text is None else [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish}]
    return {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m", "choices": choices, **fields}


async def test_text_stream_keeps_its_bytes_and_hides_usage() -> None:
    sent = [event(text_part("a")), event(text_part("b", "stop")), event(text_part(None, usage=USAGE)), DONE]
    chunks = await read(*sent, dialect=OpenAICompletions())
    assert CHAT.writer(call()).batch(chunks) == b"".join(sent[:2])
    assert [part.usage.output for part in chunks if part.usage] == [5]
    assert chunks[-1].is_final


async def test_text_stream_is_repaired_and_its_end_known() -> None:
    odd = {"choices": [{"text": "a"}], "usage": USAGE}
    chunks = await read(event(odd), event(text_part("b", "eos")), dialect=OpenAICompletions(), wants_usage=True)
    first, second, usage = shown(chunks)
    assert first["choices"][0] == {"text": "a", "logprobs": None, "index": 0, "finish_reason": None}
    assert first["object"] == "text_completion"
    assert second["id"] == first["id"]
    assert second["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]) == ([], USAGE)
    with pytest.raises(UpstreamError):
        await read(event(text_part("a")), dialect=OpenAICompletions())
    with pytest.raises(UpstreamError):
        await read(event({"error": "x"}), dialect=OpenAICompletions())


async def test_whole_text_is_relayed_and_streamed_when_it_must() -> None:
    body = orjson.dumps(text_part("hello", "stop", usage=USAGE))
    whole = OpenAICompletions().read_whole(body, call())
    assert (whole.raw, whole.text_length, whole.is_final) == (body, 5, True)
    chunks = await read(body, dialect=OpenAICompletions())
    assert shown(chunks)[0]["choices"][0]["text"] == "hello"
    for bad in (b"", b"[]", b"{}", b'{"error":"x"}'):
        with pytest.raises(UpstreamError):
            OpenAICompletions().read_whole(bad, call())
