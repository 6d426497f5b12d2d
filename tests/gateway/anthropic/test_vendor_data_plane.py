"""A chat caller, the whole gateway, and a server that speaks Anthropic's format, over sockets."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.anthropic import wire
from tests.gateway.anthropic.vendor_calls import function
from tests.gateway.serving import KEY, Serving, chat, events_of, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, Script, answer, answer_json, stream
from tollkeeper.contracts.catalog import ModelRoute, Price
from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.routing import Target
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.ids import uuid7

MODEL = "claude-sonnet-4-6"
# Pico-dollars a token: $3 in, $15 out, $0.30 read, $3.75 and $6 written, a million each.
PRICE = Price(
    version=uuid7(),
    input=3_000_000,
    output=15_000_000,
    cache_read=300_000,
    cache_write=3_750_000,
    cache_write_1h=6_000_000,
)
COUNTED = Usage(input=10, cache_read=1000, cache_write=60, cache_write_1h=40, output=5)
COST_NANO = 10 * 3_000 + 1000 * 300 + 60 * 3_750 + 40 * 6_000 + 5 * 15_000
IN_FULL = Target("one", MODEL, max_output_tokens=64_000)


def named(name: str, *targets: Target) -> ModelRoute:
    return replace(route(name, price=PRICE), targets=targets)


@pytest.fixture
async def claude(tmp_path: Path, vendor: FakeUpstream) -> AsyncIterator[Serving]:
    """One model; as `twice` it has a second place that stands in for the first."""
    places = [provider(name, f"http://127.0.0.1:{vendor.port}", kind="anthropic") for name in ("one", "two")]
    routes = [named(MODEL, IN_FULL), named("twice", IN_FULL, Target("two", MODEL))]
    async with serving(tmp_path, snapshot(places, routes)) as running:
        yield running


def streamed(*parts: bytes, stop_reason: str = "end_turn") -> Script:
    return stream(*wire.pieces(wire.stream(*parts, stop_reason=stop_reason)))


async def ask(claude: Serving, model: str = MODEL, **fields: Any) -> httpx.Response:
    return await claude.post(body=chat(model=model, **fields))


async def test_chat_is_asked_in_anthropics_format_with_its_headers(claude: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(wire.message(wire.text("Hello.")))
    response = await claude.post(
        body=chat(model=MODEL, temperature=2, seed=1, max_tokens=7),
        headers={"anthropic-beta": "context-1m", "anthropic-version": "2026-10-21"},
    )
    seen = vendor.seen[0]
    assert (seen.method, seen.path) == ("POST", "/v1/messages")
    assert seen.json() == {
        "model": MODEL, "max_tokens": 7, "temperature": 1, "messages": [{"role": "user", "content": "Say hello."}],
    }  # fmt: skip
    assert seen.header("x-api-key") == "secret-of-one"
    assert seen.header("anthropic-version") == "2023-06-01"
    assert seen.header("anthropic-beta") == "context-1m"
    assert seen.header("authorization") is None
    assert response.json()["choices"][0]["message"]["content"] == "Hello."
    assert response.headers["x-tollkeeper-dropped"] == "seed"


# 21
async def test_call_without_a_cap_is_not_cut_at_a_default(claude: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(wire.message(wire.text("x"), stop_reason="max_tokens"))
    response = await ask(claude)
    assert vendor.seen[0].json()["max_tokens"] == 64_000
    assert response.json()["choices"][0]["finish_reason"] == "length"


# 19
@pytest.mark.parametrize("is_stream", [False, True])
async def test_ledger_has_the_vendors_usage_class_by_class(
    claude: Serving, vendor: FakeUpstream, *, is_stream: bool
) -> None:
    vendor.script = streamed(wire.text_block(0, "x")) if is_stream else answer_json(wire.message(wire.text("x")))
    assert (await ask(claude, stream=is_stream)).status_code == 200
    (settled,) = await claude.settled()
    assert (settled.status, settled.usage) == (CallStatus.OK, COUNTED)
    assert settled.cost_nano == COST_NANO


async def test_stream_in_small_pieces_reaches_the_caller_as_strict_clients_want_it(
    claude: Serving, vendor: FakeUpstream
) -> None:
    parts = (wire.thinking_block(0, "hm"), wire.text_block(1, "é – ", "𝄞"), wire.tool_block(2, "f", '{"a"', ":1}"))
    vendor.script = streamed(*parts, stop_reason="tool_use")
    response = await ask(claude, stream=True, stream_options={"include_usage": True}, tools=[function("f")])
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, done = events_of(response.text)
    assert done == "[DONE]"
    chunks = [json.loads(event) for event in events]
    first, *_, last, counted = chunks
    assert first["choices"][0]["delta"]["role"] == "assistant"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "é – 𝄞"
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "hm"
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert "".join(call["function"]["arguments"] for call in calls) == '{"a":1}'
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "tool_calls"}
    assert counted["choices"] == []
    assert counted["usage"]["total_tokens"] == 1115
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


async def test_ten_turns_of_tools_keep_their_arguments(claude: Serving, vendor: FakeUpstream) -> None:
    """An agent's loop: what the model called comes back to it as it was."""
    messages: list[Any] = [{"role": "user", "content": "Count."}]
    for turn in range(10):
        given = json.dumps({"n": turn, "text": "é\n\"'"}, ensure_ascii=False)
        call = wire.tool_block(1, "count", given[:9], given[9:], call_id=f"toolu_{turn}")
        vendor.script = streamed(
            wire.thinking_block(0, f"{turn}?", signature=f"sig{turn}"), call, stop_reason="tool_use"
        )
        response = await ask(claude, stream=True, messages=messages, tools=[function("count")])
        deltas = [
            json.loads(event)["choices"][0]["delta"] for event in events_of(response.text) if event.startswith("{")
        ]
        pieces = [call for delta in deltas for call in delta.get("tool_calls", ())]
        arguments = "".join(piece["function"]["arguments"] for piece in pieces)
        assert arguments == given
        called = {"id": pieces[0]["id"], "type": "function", "function": {"name": "count", "arguments": arguments}}
        details = [detail for delta in deltas for detail in delta.get("reasoning_details", ())]
        messages.append({"role": "assistant", "content": None, "tool_calls": [called], "reasoning_details": details})
        messages.append({"role": "tool", "tool_call_id": called["id"], "content": str(turn)})
    sent = vendor.seen[-1].json()["messages"]
    assert [turn["role"] for turn in sent] == ["user", *["assistant", "user"] * 9]
    assert sent[-2]["content"] == [
        {"type": "thinking", "thinking": "8?", "signature": "sig8"},
        {"type": "tool_use", "id": "toolu_8", "name": "count", "input": {"n": 8, "text": "é\n\"'"}},
    ]
    assert sent[-1]["content"] == [{"type": "tool_result", "tool_use_id": "toolu_8", "content": "8"}]


async def test_what_cannot_be_expressed_is_refused_before_anything_leaves(
    claude: Serving, vendor: FakeUpstream
) -> None:
    response = await ask(claude, n=2)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "n"
    assert vendor.seen == []
    assert claude.settlements == []


@pytest.mark.parametrize(
    ("status", "kind", "shown"),
    [(429, "rate_limit_error", 429), (529, "overloaded_error", 503), (500, "api_error", 502)],
)
async def test_refusal_has_a_status_and_a_wait(
    claude: Serving, vendor: FakeUpstream, status: int, kind: str, shown: int
) -> None:
    vendor.script = answer_json(wire.error(kind), status, [("retry-after", "7")])
    response = await ask(claude, stream=True)
    assert response.status_code == shown
    assert response.headers["retry-after"] == "7"
    assert response.headers["x-request-id"]


async def test_account_at_the_vendor_is_not_spoken_of(claude: Serving, vendor: FakeUpstream) -> None:
    said = "Your credit balance is too low to access the Anthropic API."
    vendor.script = answer_json(wire.error("invalid_request_error", said), 400)
    response = await ask(claude)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "upstream_quota")
    assert "balance" not in response.text


async def test_other_place_stands_in_when_the_first_is_overloaded(claude: Serving, vendor: FakeUpstream) -> None:
    good = answer_json(wire.message(wire.text("Hello.")))
    busy = answer_json(wire.error("overloaded_error"), 529)

    async def script(seen: Any, writer: Any) -> bool | None:
        return await (busy if seen.header("x-api-key") == "secret-of-one" else good)(seen, writer)

    vendor.script = script
    response = await ask(claude, "twice")
    assert response.json()["choices"][0]["message"]["content"] == "Hello."
    assert [seen.header("x-api-key") for seen in vendor.seen] == ["secret-of-one", "secret-of-two"]


async def test_error_event_before_any_content_is_another_places_turn(claude: Serving, vendor: FakeUpstream) -> None:
    broken = stream(wire.start() + wire.PING + wire.event("error", error=wire.error("overloaded_error")["error"]))
    good = streamed(wire.text_block(0, "Hello."))

    async def script(seen: Any, writer: Any) -> bool | None:
        return await (broken if seen.header("x-api-key") == "secret-of-one" else good)(seen, writer)

    vendor.script = script
    assert "Hello." in (await ask(claude, "twice", stream=True)).text


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (wire.event("error", error=wire.error("overloaded_error")["error"]), "upstream_overloaded"),
        (b"", "upstream_cut"),
        (b"data: {nonsense\n\n", "upstream_garbage"),
    ],
)
async def test_stream_that_breaks_is_no_success(
    claude: Serving, vendor: FakeUpstream, ending: bytes, code: str
) -> None:
    vendor.script = stream(*wire.pieces(wire.start() + wire.text_block(0, "half a word") + ending))
    response = await ask(claude, stream=True)
    last = events_of(response.text)[-1]
    assert json.loads(last)["error"]["code"] == code
    assert "[DONE]" not in response.text
    (settled,) = await claude.settled()
    assert (settled.status, settled.error_code) == (CallStatus.ERROR, code)
    # The vendor counted the input as it began; the output is as much as was seen.
    assert settled.usage == replace(COUNTED, output=3, is_estimated=True)


async def test_caller_that_leaves_pays_what_was_cached_as_cached(claude: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(wire.start() + wire.text_block(0, "half a word"), pause=1, ends=False)
    content = json.dumps(chat(model=MODEL, stream=True)).encode()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    async with claude.client.stream("POST", "/v1/chat/completions", content=content, headers=headers) as response:
        await anext(response.aiter_bytes())
    (settled,) = await claude.settled()
    assert settled.status is CallStatus.CANCELLED
    assert settled.usage == replace(COUNTED, output=3, is_estimated=True)
    assert settled.cost_nano == COST_NANO - 2 * 15_000


async def test_stream_that_is_never_counted_is_not_taken_for_one_token(claude: Serving, vendor: FakeUpstream) -> None:
    ending = wire.event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None})
    vendor.script = stream(wire.start() + wire.text_block(0, "half a word") + ending + wire.STOP)
    await ask(claude, stream=True)
    (settled,) = await claude.settled()
    assert settled.usage == replace(COUNTED, output=3, is_estimated=True)


@pytest.mark.parametrize("body", [b"<html>", b'{"type":"message"', b"[]"])
async def test_garbage_is_a_named_error(claude: Serving, vendor: FakeUpstream, body: bytes) -> None:
    vendor.script = answer(200, body)
    response = await ask(claude)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_garbage")


async def test_embeddings_are_not_offered(claude: Serving, vendor: FakeUpstream) -> None:
    response = await claude.post("/v1/embeddings", {"model": MODEL, "input": "x"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported_operation")
    assert vendor.seen == []


# The same dialect at both ends

ASKED = {
    "model": MODEL,
    "max_tokens": 9,
    "system": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral", "scope": "global"}}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Say hello."}]}],
    "thinking": {"type": "between_tools"},
    "made_up": {"by": "tomorrow"},
}


async def tell(claude: Serving, **fields: Any) -> httpx.Response:
    headers = {"anthropic-version": "2026-10-21", "anthropic-beta": "a,b"}
    return await claude.post("/v1/messages", {**ASKED, **fields}, headers=headers)


# 22
async def test_callers_own_document_goes_out_as_it_came(claude: Serving, vendor: FakeUpstream) -> None:
    body = json.dumps(wire.message(wire.text("Hello.", more=1)), indent=1).encode()
    vendor.script = answer(200, body)
    response = await tell(claude)
    assert vendor.seen[0].json() == ASKED
    assert (vendor.seen[0].header("anthropic-version"), vendor.seen[0].header("anthropic-beta")) == (
        "2026-10-21",
        "a,b",
    )
    assert response.content == body
    assert "x-tollkeeper-dropped" not in response.headers
    (settled,) = await claude.settled()
    assert (settled.usage, settled.cost_nano) == (COUNTED, COST_NANO)


async def test_stream_is_relayed_byte_for_byte(claude: Serving, vendor: FakeUpstream) -> None:
    parts = (wire.thinking_block(0, "hm"), wire.event("tomorrow", x=1), wire.text_block(1, *"Hello."))
    sent = wire.stream(*parts)
    vendor.script = stream(*wire.pieces(sent))
    response = await tell(claude, stream=True)
    lines = [line for line in response.text.split("\n\n") if line and not line.startswith(":")]
    assert "\n\n".join(lines) + "\n\n" == sent.decode()
    (settled,) = await claude.settled()
    assert (settled.usage, settled.cost_nano) == (COUNTED, COST_NANO)


async def test_relayed_stream_that_breaks_ends_with_an_error_event(claude: Serving, vendor: FakeUpstream) -> None:
    broken = wire.event("error", error=wire.error("overloaded_error")["error"])
    vendor.script = stream(*wire.pieces(wire.start() + wire.text_block(0, "half") + broken))
    response = await tell(claude, stream=True)
    last = response.text.rstrip("\n").split("\n\n")[-1]
    assert last.startswith("event: error\ndata: ")
    assert json.loads(last.partition("data: ")[2])["error"]["type"] == "overloaded_error"
