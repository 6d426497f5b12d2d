"""Answers of any shape, from Gemini or for its clients: chunks, or a named error; never a fault of ours."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.gemini.wire import PNG, USAGE, call, candidate, event, response
from tests.gateway.upstream import DONE, chunk, completion
from tests.gateway.upstream import event as openai_event
from tollkeeper.contracts.chat import Batch, Call, Operation
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.assemble import assemble
from tollkeeper.gateway.dialect import VendorDialect
from tollkeeper.gateway.dialects.gemini import GeminiArray, GeminiCaller, GeminiStream, GeminiVendor
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat

Json = dict[str, Any]
ODD = st.sampled_from(
    [None, True, 0, -1, 1.5, 2**70, "", "x", [], [1], [None], [[]], {}, {"a": {"b": []}}, {"text": 7}, {"parts": [{}]}]
)
GEMINI: Json = response(
    candidate(
        {"text": "a", "thought": True, "thoughtSignature": "s"},
        {"text": "b"},
        call(args={"a": 1}, signature="s", id="i"),
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"output": "1"}},
        finish="STOP",
        logprobsResult={
            "chosenCandidates": [{"token": "a", "logProbability": -1}],
            "topCandidates": [{"candidates": []}],
        },
        groundingMetadata={
            "groundingChunks": [{"web": {"uri": "u"}}],
            "groundingSupports": [{"segment": {"endIndex": 1}, "groundingChunkIndices": [0]}],
        },
        citationMetadata={"citationSources": [{"uri": "u", "startIndex": 0}]},
    ),
    promptFeedback={"blockReason": ""},
    usage=USAGE,
)
MESSAGE: Json = {
    "content": "a",
    "refusal": None,
    "reasoning_content": "r",
    "reasoning_details": [{"type": "reasoning.text", "text": "r", "signature": "s", "format": "anthropic", "index": 0}],
    "tool_calls": [
        {
            "index": 0,
            "id": "i",
            "type": "function",
            "function": {"name": "f", "arguments": '{"a":1}'},
            "extra_content": {"google": {"thought_signature": "s"}},
        }
    ],
    "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,A"}}],
    "audio": {"data": "A", "format": "wav"},
    "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "start_index": 0, "end_index": 1}}],
}
LOGPROBS: Json = {"content": [{"token": "a", "logprob": -1, "top_logprobs": [{"token": "a", "logprob": -1}]}]}
OPENAI: Json = completion("a")
OPENAI["choices"][0]["message"] |= MESSAGE
OPENAI["choices"][0]["logprobs"] = LOGPROBS
PIECE: Json = chunk({"role": "assistant", **MESSAGE})
PIECE["choices"][0]["logprobs"] = LOGPROBS


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield from places(item, (*path, name))


def changes_of(document: Json) -> st.SearchStrategy[Json]:
    def change(wanted: list[tuple[tuple[Any, ...], Any]]) -> Json:
        changed = copy.deepcopy(document)
        for path, value in wanted:
            place: Any = changed
            with suppress(KeyError, IndexError, TypeError):
                for name in path[:-1]:
                    place = place[name]
                # A list in place of an object, by an earlier change, has no such key.
                if isinstance(place, dict) == isinstance(path[-1], str):
                    place[path[-1]] = copy.deepcopy(value)
        return changed

    return st.lists(st.tuples(st.sampled_from(list(places(document))), ODD), min_size=1, max_size=2).map(change)


def asked(*, native: bool = False) -> Call:
    body: Json = {"model": "m", "messages": [], "web_search_options": {}, "thinking": {}}
    found = Call(Operation.CHAT, "m", is_stream=True, body=body, wants_usage=True)
    if native:
        found.dialect, found.native = "gemini", {"contents": []}
    return found


async def read(vendor: VendorDialect, data: bytes, call: Call) -> list[Batch]:
    async def reads() -> AsyncIterator[bytes]:
        yield data

    return [batch async for batch in vendor.read_stream(reads(), call)]


def write(batches: list[Batch], call: Call) -> None:
    """As the data plane does, for each kind of Google's clients, and put together."""
    for dialect in (GeminiStream(), GeminiArray()):
        writer = dialect.writer(call)
        for batch in batches:
            writer.batch(batch)
        writer.end(None)
    assemble([one for batch in batches for one in batch], call)


@settings(max_examples=400, deadline=None)
@given(changes_of(GEMINI), st.booleans())
def test_geminis_answers(document: Json, native: bool) -> None:
    with suppress(UpstreamError):
        found = GeminiVendor().read_whole(json.dumps(document).encode(), asked(native=native))
        json.dumps(found.data)
        found.native = None
        GeminiCaller().write_whole(found, asked())
        call = asked(native=native)
        write(asyncio.run(read(GeminiVendor(), event(document) * 2, call)), call)


# What OpenAI's own reader makes of such answers has tests of its own.


@settings(max_examples=400, deadline=None)
@given(changes_of(OPENAI))
def test_other_vendors_whole_answers(document: Json) -> None:
    with suppress(Exception):
        found = OpenAIChat().read_whole(json.dumps(document).encode(), asked())
    if "found" in locals():
        json.loads(GeminiCaller().write_whole(found, asked()))


@settings(max_examples=400, deadline=None)
@given(changes_of(PIECE))
def test_other_vendors_streams(document: Json) -> None:
    data = openai_event(document) * 2 + openai_event(chunk({}, "stop")) + DONE
    with suppress(Exception):
        batches = asyncio.run(read(OpenAIChat(), data, asked()))
    if "batches" in locals():
        write(batches, asked())
