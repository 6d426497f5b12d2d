"""What vendors that speak OpenAI's format do otherwise, as their users met it: the regression cases of the wire contract.

The numbers are those of the contract's list; behind them where other gateways got it wrong.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.serving import Serving, chat, events_of, provider, route, serving, snapshot
from tests.gateway.upstream import (
    DONE,
    USAGE,
    FakeUpstream,
    answer,
    answer_json,
    chunk,
    completion,
    event,
    good_stream,
    silent,
    stream,
)
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.routing import Target
from tollkeeper.gateway.providers import PROVIDERS

STREAM = chat(stream=True)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def chunks_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    *chunks, last = events_of(response.text)
    assert last == "[DONE]"
    return [json.loads(data) for data in chunks]


async def streamed(gateway: Serving, vendor: FakeUpstream, *pieces: bytes, **fields: Any) -> list[dict[str, Any]]:
    vendor.script = stream(b"".join(pieces))
    return chunks_of(await gateway.post(body=chat(stream=True, **fields)))


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [choice["delta"] for one in chunks for choice in one["choices"]]


def sent(kind: str, body: dict[str, Any], model: str = "m") -> dict[str, Any]:
    """What a vendor gets of a call."""
    call = Call(Operation.CHAT, model, is_stream=False, body={"model": model, **body})
    return PROVIDERS[kind].prepare(provider("p", None, kind=kind), call, Target("p", "*")).body


# 42: Google's OpenAI layer (Vibe-Trading#308, openclaude#67)


@pytest.mark.parametrize("theirs", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT"])
async def test_googles_own_word_for_a_refusal_is_content_filter(
    gateway: Serving, vendor: FakeUpstream, theirs: str
) -> None:
    document = completion("")
    document["choices"][0]["finish_reason"] = theirs
    vendor.script = answer_json(document)
    assert (await gateway.post()).json()["choices"][0]["finish_reason"] == "content_filter"
    chunks = await streamed(gateway, vendor, *good_stream("a")[:2], event(chunk({}, theirs)), DONE)
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"


async def test_googles_array_of_errors_is_one_error(gateway: Serving, vendor: FakeUpstream) -> None:
    problem = {"error": {"code": 400, "message": "Invalid value at 'tools'.", "status": "INVALID_ARGUMENT"}}
    vendor.script = answer_json([problem], status=400)
    response = await gateway.post()
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "Invalid value at 'tools'."
    assert response.json()["error"]["type"] == "invalid_request_error"


# 44 (litellm#1571, #38098, #11437, #10280)


@pytest.mark.parametrize("ids", [(None, None, None), ("a", "b", "c"), ("", "", "")])
async def test_all_chunks_have_one_id_and_one_time(gateway: Serving, vendor: FakeUpstream, ids: Any) -> None:
    parts = [chunk({"role": "assistant", "content": ""}), chunk({"content": "a"}), chunk({}, "stop")]
    for at, (part, name) in enumerate(zip(parts, ids, strict=True)):
        part |= {"id": name, "created": at}
    chunks = await streamed(gateway, vendor, *map(event, parts), DONE)
    assert len({(one["id"], one["created"], one["model"]) for one in chunks}) == 1
    assert chunks[0]["id"]
    if ids[0]:
        assert chunks[0]["id"] == "a"


# 45 (agentgateway PR#3005, open-webui#23922, langwatch#6196)


async def test_first_delta_has_the_role_though_the_vendor_leaves_it_out(gateway: Serving, vendor: FakeUpstream) -> None:
    chunks = await streamed(gateway, vendor, event(chunk({"content": "a"})), event(chunk({}, "stop")), DONE)
    assert deltas(chunks)[0] == {"content": "a", "role": "assistant"}
    assert all("role" not in delta for delta in deltas(chunks)[1:])


async def test_openais_role_chunk_is_not_swallowed(gateway: Serving, vendor: FakeUpstream) -> None:
    chunks = await streamed(gateway, vendor, *good_stream("a"))
    assert deltas(chunks)[0] == {"role": "assistant", "content": ""}


# 46 (litellm#8450, #28735, new-api#7489)


async def test_usage_is_the_last_chunk_for_who_asked_and_none_for_others(
    gateway: Serving, vendor: FakeUpstream
) -> None:
    together = [*good_stream("a")[:2], event(chunk({}, "stop", usage=USAGE)), DONE]
    asked = await streamed(gateway, vendor, *together, stream_options={"include_usage": True})
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"] == USAGE
    assert asked[-2]["choices"][0]["finish_reason"] == "stop"
    assert asked[-2]["usage"] is None
    others = await streamed(gateway, vendor, *together)
    assert all(not one.get("usage") for one in others)
    assert others[-1]["choices"][0]["finish_reason"] == "stop"
    assert [row.usage.output for row in await gateway.settled(2)] == [5, 5]


# 48 (langchain#18977, autogen#6465, CopilotKit#2468)


async def test_azures_filter_chunks_do_not_reach_the_client(gateway: Serving, vendor: FakeUpstream) -> None:
    first = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": [{"a": 1}]}
    offsets = chunk({})
    offsets["choices"] = [{"index": 0, "finish_reason": None, "content_filter_offsets": {"start_offset": 1}}]
    chunks = await streamed(gateway, vendor, event(first), *good_stream("a")[:2], event(offsets), *good_stream("a")[2:])
    assert all(one["id"] == "chatcmpl-1" and one["choices"] and "delta" in one["choices"][0] for one in chunks)


# 49 (OmniRoute PR#8210, goose PR#8031)


@pytest.mark.parametrize(
    "error",
    [
        {"id": "gen-1", "choices": [], "error": {"code": 502, "message": "Upstream is gone."}},
        {"object": "error", "message": "Upstream is gone.", "type": "InternalServerError", "code": 500},
    ],
    ids=["OpenRouter", "vLLM"],
)
async def test_error_inside_a_good_stream_is_an_error_and_no_empty_success(
    gateway: Serving, vendor: FakeUpstream, error: dict[str, Any]
) -> None:
    vendor.script = stream(event(error), DONE)
    early = await gateway.post(body=STREAM)
    assert (early.status_code, early.json()["error"]["message"]) == (502, "Upstream is gone.")
    vendor.script = stream(b"".join([*good_stream("a")[:2], event(error), DONE]))
    late = await gateway.post(body=STREAM)
    last = json.loads(events_of(late.text)[-1])
    assert last["error"]["message"] == "Upstream is gone."
    assert set(last["error"]) >= {"message", "type", "param", "code"}


# 50 (litellm#9035, PR#41528)


async def test_refusal_before_the_first_chunk_keeps_its_status_and_its_wait(
    gateway: Serving, vendor: FakeUpstream
) -> None:
    vendor.script = answer_json({"error": {"message": "Slow down."}}, status=429, headers=[("retry-after", "7")])
    response = await gateway.post(body=STREAM)
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert response.headers["x-request-id"].startswith("req_")
    assert response.headers["content-type"] == "application/json"


# 52 (litellm#30244, PR#31499, #37140, #36123); chat's own endings are in test_streams


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/responses", {"input": "Hi"}),
    ],
)
async def test_client_that_leaves_ends_the_vendors_work_in_every_dialect(
    path: str, body: dict[str, Any], is_stream: bool, tmp_path: Path, vendor: FakeUpstream
) -> None:
    config = provider("one", vendor.base_url, options={"cancel_stops_billing": True})
    vendor.script = silent()
    async with serving(tmp_path, snapshot([config], [route("m", ("one", "m"))])) as gateway:
        call = asyncio.create_task(gateway.post(path, body={"model": "m", "stream": is_stream, **body}))
        while not vendor.seen:
            await asyncio.sleep(0.002)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.wait_for(vendor.seen[0].gone.wait(), 2)
        (row,) = await gateway.settled()
        assert row.usage.output == 0


# 53 (vllm#27755, vllm#38488, strands#2182, bifrost#5887)


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
async def test_thinking_is_understood_under_both_names(gateway: Serving, vendor: FakeUpstream, name: str) -> None:
    parts = [event(chunk({name: "Hm."})), event(chunk({"content": "Yes."})), event(chunk({}, "stop")), DONE]
    chunks = await streamed(gateway, vendor, *parts)
    # A chat client gets what its vendor calls it.
    assert deltas(chunks)[0][name] == "Hm."
    body = {"model": "gpt-4o-mini", "max_tokens": 99, "messages": [{"role": "user", "content": "Hi"}]}
    vendor.script = stream(b"".join(parts))
    message = await gateway.post("/v1/messages", body={**body, "stream": True})
    assert '"thinking":"Hm."' in message.text
    document = completion("Yes.")
    document["choices"][0]["message"][name] = "Hm."
    vendor.script = answer_json(document)
    whole = (await gateway.post("/v1/messages", body=body)).json()["content"]
    assert [block["type"] for block in whole] == ["thinking", "text"]
    assert whole[0]["thinking"] == "Hm."


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thinking_goes_back_under_the_names_that_its_vendor_knows(name: str) -> None:
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "A", name: "Hm."}]
    named = {
        kind: {key: value for key, value in sent(kind, {"messages": history})["messages"][1].items() if "reas" in key}
        for kind in ("vllm", "deepseek", "moonshot", "openrouter")
    }
    assert named == {
        "vllm": {"reasoning": "Hm.", "reasoning_content": "Hm."},
        "deepseek": {"reasoning_content": "Hm."},
        "moonshot": {"reasoning_content": "Hm."},
        "openrouter": {name: "Hm."},
    }
    assert history[1] == {"role": "assistant", "content": "A", name: "Hm."}


def test_thinking_of_a_call_in_another_dialect_goes_back_to_vllm_too() -> None:
    history = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "A"}], "reasoning_content": "Hm."},
    ]
    call = Call(Operation.CHAT, "m", is_stream=False, body={"model": "m", "messages": history})
    call.dialect = "anthropic_messages"
    prepared = PROVIDERS["vllm"].prepare(provider("p", None, kind="vllm"), call, Target("p", "*"))
    assert prepared.body["messages"][1] == {
        "role": "assistant", "content": "A", "reasoning": "Hm.", "reasoning_content": "Hm.",
    }  # fmt: skip


# 54 (bifrost#6132, litellm#5663)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_cap_reaches_a_local_server_as_it_came_and_others_by_the_name_they_know(name: str) -> None:
    assert sent("vllm", {"messages": [], name: 5})[name] == 5
    assert sent("ollama", {"messages": [], name: 5}) == {"model": "m", "messages": [], "max_tokens": 5}
    assert sent("openai", {"messages": [], name: 5}, "o3-mini") == {
        "model": "o3-mini", "messages": [], "max_completion_tokens": 5,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["openai_compatible", "tgi", "lmstudio", "jan"])
def test_cap_of_another_dialect_has_the_name_that_the_server_knows(kind: str) -> None:
    body = {"model": "m", "messages": [], "max_completion_tokens": 5}
    config = provider("p", "https://p.test/v1", kind=kind)
    for dialect, name in (
        ("anthropic_messages", "max_tokens"),
        ("gemini", "max_tokens"),
        ("", "max_completion_tokens"),
    ):
        call = Call(Operation.CHAT, "m", is_stream=False, body=dict(body), dialect=dialect)
        sent = PROVIDERS[kind].prepare(config, call, Target("p", "*")).body
        assert {key: value for key, value in sent.items() if key.startswith("max")} == {name: 5}


# 55 (vLLM)


@pytest.mark.parametrize(
    ("theirs", "ours"), [(None, "{}"), ("null", "{}"), ("", "{}"), ({"a": 1}, '{"a":1}'), ('{"a":1}', '{"a":1}')]
)
async def test_arguments_of_a_tool_call_are_a_json_text(
    gateway: Serving, vendor: FakeUpstream, theirs: Any, ours: str
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": theirs}}
    document = completion()
    document["choices"][0] |= {
        "message": {"role": "assistant", "content": None, "tool_calls": [call]},
        "finish_reason": "tool_calls",
    }
    vendor.script = answer_json(document)
    whole = (await gateway.post(body=chat(tools=[TOOL]))).json()["choices"][0]["message"]["tool_calls"]
    assert whole[0]["function"]["arguments"] == ours
    first = chunk({"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]})
    chunks = await streamed(gateway, vendor, event(first), event(chunk({}, "tool_calls")), DONE, tools=[TOOL])
    pieces = [call["function"]["arguments"] for delta in deltas(chunks) for call in delta.get("tool_calls") or ()]
    assert "".join(pieces) in {ours, "" if ours == "{}" else ours}


# 61 (LangChain sends token ids unless told otherwise)


async def test_token_ids_are_refused_in_words_where_the_vendor_reads_text(tmp_path: Path, vendor: FakeUpstream) -> None:
    config = provider("one", vendor.base_url, kind="mistral")
    async with serving(tmp_path, snapshot([config], [route("e", ("one", "mistral-embed"))])) as gateway:
        for tokens in ([1, 2, 3], [[1, 2], [3]]):
            response = await gateway.post("/v1/embeddings", body={"model": "e", "input": tokens})
            assert response.status_code == 400
            assert response.json()["error"]["code"] == "unsupported_input"
            assert response.json()["error"]["param"] == "input"
            assert "check_embedding_ctx_length=False" in response.json()["error"]["message"]
        assert not vendor.seen


# Section 5: bodies of errors that are none


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<html>Bad gateway</html>", "text/html"),
        (b"", "text/plain"),
        (b'{"error": ', "application/json"),
        (b"[]", "a/b"),
    ],
)
async def test_error_page_of_a_proxy_is_a_named_error(
    gateway: Serving, vendor: FakeUpstream, body: bytes, content_type: str
) -> None:
    vendor.script = answer(502, body, content_type=content_type)
    response = await gateway.post()
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    assert "html" not in response.text
