"""A whole answer put together out of a stream is the one that the vendor would have given at once."""

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.contracts.chat import Call, Chunk, Operation
from tollkeeper.gateway.assemble import assemble
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.dialects.openai_completions import OpenAICompletions
from tollkeeper.gateway.simulator import engine

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def call(operation: Operation = Operation.CHAT) -> Call:
    return Call(operation, "gpt-4o", is_stream=True, body={})


def piece(delta: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> Chunk:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish, **more}
    data = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [choice]}
    return Chunk(data, text_length=len(delta.get("content") or ""))


def message_of(*chunks: Chunk) -> dict[str, Any]:
    found: dict[str, Any] = assemble(chunks, call()).data["choices"][0]["message"]
    return found


def test_texts_grow_and_the_head_is_one() -> None:
    whole = assemble(
        [
            piece({"role": "assistant", "content": ""}),
            piece({"content": "Hel"}),
            piece({"content": "lo"}),
            piece({}, "stop"),
        ],
        call(),
    )
    assert whole.data == {
        "id": "c1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "logprobs": None,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
            }
        ],
    }
    assert (whole.is_final, whole.is_content, whole.text_length) == (True, True, 5)


def test_tool_calls_are_put_together_by_their_index() -> None:
    def part(index: int, arguments: str, **first: Any) -> dict[str, Any]:
        function = {"arguments": arguments, **({"name": first.pop("name")} if "name" in first else {})}
        return {"index": index, **first, "function": function}

    message = message_of(
        piece({"role": "assistant", "content": None}),
        piece({"tool_calls": [part(0, "", id="a", type="function", name="one")]}),
        piece({"tool_calls": [part(0, '{"x"')]}),
        piece({"tool_calls": [part(1, '{"y":2}', id="b", type="function", name="two")]}),
        piece({"tool_calls": [part(0, ":1}")]}),
        piece({}, "tool_calls"),
    )
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "one", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "two", "arguments": '{"y":2}'}},
    ]


def test_a_tool_call_without_arguments_is_one_that_clients_can_parse() -> None:
    call_part = {"index": 0, "id": "a", "type": "function", "function": {"name": "now", "arguments": ""}}
    message = message_of(piece({"role": "assistant", "tool_calls": [call_part]}), piece({}, "tool_calls"))
    assert message["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}


def test_refusal_reasoning_and_unknown_fields_are_kept() -> None:
    message = message_of(
        piece({"role": "assistant", "refusal": "I "}),
        piece({"refusal": "cannot"}),
        piece({"reasoning_content": "hm"}),
        piece({"reasoning_content": "m", "annotations": [{"type": "url", "n": 1}]}),
        piece({"annotations": [{"type": "url", "n": 2}], "vendor": {"a": 1}}),
        piece({"vendor": {"b": 2}}, "stop"),
    )
    assert (message["refusal"], message["reasoning_content"]) == ("I cannot", "hmm")
    assert message["annotations"] == [{"type": "url", "n": 1}, {"type": "url", "n": 2}]
    assert message["vendor"] == {"a": 1, "b": 2}


def test_logprobs_follow_one_another() -> None:
    def logprobs(token: str) -> dict[str, Any]:
        return {"content": [{"token": token, "logprob": -0.1, "top_logprobs": []}], "refusal": None}

    whole = assemble(
        [piece({"content": "a"}, logprobs=logprobs("a")), piece({"content": "b"}, "stop", logprobs=logprobs("b"))],
        call(),
    )
    found = whole.data["choices"][0]["logprobs"]
    assert [entry["token"] for entry in found["content"]] == ["a", "b"]
    assert found["refusal"] is None


def test_choices_are_kept_apart_and_in_order() -> None:
    chunks = [piece({"content": text}, index=index) for index, text in ((1, "b"), (0, "a"), (1, "B"), (0, "A"))]
    chunks += [piece({}, "stop", index=0), piece({}, "length", index=1)]
    choices = assemble(chunks, call()).data["choices"]
    assert [(c["message"]["content"], c["finish_reason"]) for c in choices] == [("aA", "stop"), ("bB", "length")]


def test_completions_join_texts_and_arrays_of_logprobs() -> None:
    def part(text: str, finish: str | None = None) -> Chunk:
        logprobs = {"tokens": [text], "token_logprobs": [-0.5], "top_logprobs": [{text: -0.5}], "text_offset": [0]}
        choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish}
        return Chunk({"id": "x", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]})

    (choice,) = assemble([part("ab"), part("cd", "stop")], call(Operation.COMPLETIONS)).data["choices"]
    assert choice["text"] == "abcd"
    assert choice["logprobs"]["tokens"] == ["ab", "cd"]
    assert choice["logprobs"]["top_logprobs"] == [{"ab": -0.5}, {"cd": -0.5}]


def test_chunks_are_left_as_they_were() -> None:
    chunks = [piece({"role": "assistant", "vendor": {"a": [1]}}), piece({"vendor": {"a": [2]}}, "stop")]
    before = orjson.dumps([chunk.data for chunk in chunks])
    assemble(chunks, call())
    assert orjson.dumps([chunk.data for chunk in chunks]) == before


async def reads(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def simulated(operation: engine.Operation, body: dict[str, Any]) -> bytes:
    script = engine.answer(operation, orjson.dumps(body))
    assert script.status == 200, b"".join(part.data for part in script.parts)
    return b"".join(part.data for part in script.parts)


CALLS: list[dict[str, Any]] = [
    {},
    {"n": 2},
    {"logprobs": True, "top_logprobs": 2},
    {
        "tools": [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}],
        "tool_choice": "required",
    },
    {"max_tokens": 3},
]


@pytest.mark.parametrize("fields", CALLS, ids=["plain", "two choices", "logprobs", "tools", "capped"])
@pytest.mark.parametrize("model", ["simulated", "simulated-reasoning", "simulated-refuse", "simulated-filter"])
async def test_the_simulators_stream_becomes_the_simulators_whole_answer(model: str, fields: dict[str, Any]) -> None:
    """Two writers that know nothing of `assemble`: what the vendor says whole, and what it streams."""
    if "refuse" in model or "filter" in model:
        fields = {name: value for name, value in fields.items() if "tool" not in name}
    body = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], **fields}
    dialect = OpenAIChat()
    wanted = dialect.read_whole(simulated(engine.Operation.CHAT, body), call()).data
    streamed = simulated(engine.Operation.CHAT, {**body, "stream": True, "stream_options": {"include_usage": True}})
    chunks = [chunk async for batch in dialect.read_stream(reads(streamed), call()) for chunk in batch]
    found = assemble(chunks, call())
    for document in (wanted, found.data):
        for name in ("id", "created", "system_fingerprint", "service_tier"):
            document.pop(name, None)
        for choice in document["choices"]:
            for tool_call in choice["message"].get("tool_calls") or ():
                tool_call.pop("id")
    for choice in wanted["choices"]:
        # What stands empty in whole answers and nowhere in streams.
        choice["message"].pop("annotations", None)
    assert found.data == wanted


async def test_the_simulators_stream_of_a_completion_becomes_its_whole_answer() -> None:
    body = {"model": "simulated", "prompt": ["one", "two"], "logprobs": 1}
    dialect, asked = OpenAICompletions(), call(Operation.COMPLETIONS)
    wanted = dialect.read_whole(simulated(engine.Operation.COMPLETIONS, body), asked).data
    streamed = simulated(
        engine.Operation.COMPLETIONS, {**body, "stream": True, "stream_options": {"include_usage": True}}
    )
    chunks = [chunk async for batch in dialect.read_stream(reads(streamed), asked) for chunk in batch]
    found = assemble(chunks, asked).data
    for document in (wanted, found):
        for name in ("id", "created", "system_fingerprint"):
            document.pop(name, None)
    assert found == wanted


@given(st.text(min_size=1, max_size=60), st.lists(st.integers(1, 59), max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_text_split_anywhere_is_the_same_text(text: str, cuts: list[int]) -> None:
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    chunks = [piece({"content": text[a:b]}) for a, b in pairwise(edges)]
    assert message_of(*chunks, piece({}, "stop"))["content"] == text
