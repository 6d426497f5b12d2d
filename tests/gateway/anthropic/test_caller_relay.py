"""Anthropic's form at both ends: what the vendor says is what the caller gets, byte for byte; and what happens elsewhere."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from tests.gateway.anthropic.callers import Json, assistant, message, talk, text, tool_result, tool_use, user
from tests.gateway.serving import KEY, Serving, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, answer, answer_json, answer_raw, good_stream, stream

USAGE: Json = {"input_tokens": 11, "cache_read_input_tokens": 100, "output_tokens": 1, "future": {"a": 1}}
WHOLE: Json = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
        {"type": "text", "text": "Hello.", "citations": None},
        {"type": "future_block", "x": [1.0]},
    ],
    "stop_reason": "stop_sequence",
    "stop_sequence": "END",
    "usage": {**USAGE, "output_tokens": 7},
}


def frame(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


FRAMES = [
    frame(
        "message_start", message={**WHOLE, "content": [], "stop_reason": None, "stop_sequence": None, "usage": USAGE}
    ),
    frame("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
    frame("ping"),
    frame("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "c2ln"}),
    frame("content_block_stop", index=0),
    frame("content_block_start", index=1, content_block={"type": "text", "text": ""}),
    frame("content_block_delta", index=1, delta={"type": "text_delta", "text": "Hel"}),
    frame("content_block_delta", index=1, delta={"type": "text_delta", "text": "lo."}),
    frame("content_block_stop", index=1),
    frame("future_event", x=1),
    frame("message_delta", delta={"stop_reason": "stop_sequence", "stop_sequence": "END"}, usage={"output_tokens": 7}),
    frame("message_stop"),
]


@pytest.fixture
async def gateway(tmp_path: Path, vendor: FakeUpstream) -> AsyncIterator[Serving]:
    """One model at Anthropic, one at a vendor that speaks OpenAI's form, one that falls back from the latter."""
    snap = snapshot(
        [
            provider("claude", vendor.base_url, kind="anthropic"),
            provider("other", vendor.base_url),
        ],
        [
            route("claude-x", ("claude", "claude-x")),
            route("alias", ("claude", "claude-x")),
            route("gpt-4o-mini", ("other", "gpt-4o-mini")),
            route("either", ("other", "gpt-4o-mini"), ("claude", "claude-x")),
        ],
    )
    async with serving(tmp_path, snap) as running:
        yield running


async def test_whole_answer_is_relayed_byte_for_byte(gateway: Serving, vendor: FakeUpstream) -> None:
    body = json.dumps(WHOLE, indent=1).encode()
    vendor.script = answer(200, body)
    document = message(model="claude-x", future_field={"x": 1}, top_k=3, system=[text("s")], tools=[])
    response = await gateway.post("/v1/messages", document)
    assert response.content == body
    assert vendor.seen[0].json() == document
    assert "x-tollkeeper-dropped" not in response.headers
    usage = (await gateway.settled())[0].usage
    assert (usage.input, usage.cache_read, usage.completion_tokens) == (11, 100, 7)


@pytest.mark.parametrize("size", [1, 17, 100_000])
async def test_stream_is_relayed_byte_for_byte(gateway: Serving, vendor: FakeUpstream, size: int) -> None:
    data = b"".join(FRAMES)
    vendor.script = stream(*(data[at : at + size] for at in range(0, len(data), size)))
    response = await gateway.post("/v1/messages", message(model="alias", stream=True))
    events = [block for block in response.content.split(b"\n\n") if block and not block.startswith(b":")]
    assert events == [block for block in data.split(b"\n\n") if block]
    assert response.content.endswith(FRAMES[-1])
    assert b": x-tollkeeper-cost-usd" in response.content
    assert vendor.seen[0].json()["model"] == "claude-x"
    usage = (await gateway.settled())[0].usage
    assert (usage.input, usage.cache_read, usage.completion_tokens) == (11, 100, 7)


async def test_version_and_betas_of_the_caller_reach_the_vendor_and_its_key_does_not(
    gateway: Serving, vendor: FakeUpstream
) -> None:
    vendor.script = answer_json(WHOLE)
    headers = {"anthropic-version": "2026-10-21", "anthropic-beta": "a,b"}
    await gateway.post("/v1/messages", message(model="claude-x"), headers=headers)
    seen = vendor.seen[0]
    assert (seen.header("anthropic-version"), seen.header("anthropic-beta")) == ("2026-10-21", "a,b")
    assert seen.header("x-api-key") == "secret-of-claude"
    assert seen.header("authorization") is None
    assert not any(KEY in value for _, value in seen.headers)


async def test_sdk_reads_a_relayed_stream(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*FRAMES)
    async with (
        AsyncAnthropic(base_url=gateway.origin, api_key=KEY, max_retries=0) as client,
        client.messages.stream(model="claude-x", max_tokens=9, messages=[{"role": "user", "content": "a"}]) as running,
    ):
        got = await running.get_final_message()
    assert [block.type for block in got.content] == ["thinking", "text"]
    assert (got.stop_reason, got.stop_sequence, got.usage.output_tokens) == ("stop_sequence", "END", 7)


async def test_stream_that_breaks_ends_in_an_error_of_ours(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*FRAMES[:7], ends=False)
    async with AsyncAnthropic(base_url=gateway.origin, api_key=KEY, max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError) as error:
            async with client.messages.stream(
                model="claude-x", max_tokens=9, messages=[{"role": "user", "content": "a"}]
            ) as running:
                await running.get_final_message()
    assert error.value.error_code == "upstream_cut"


async def test_talk_that_another_vendor_took_part_in_goes_on_at_anthropic(
    gateway: Serving, vendor: FakeUpstream
) -> None:
    """A thought without Anthropic's signature would be refused there; the rest of the turn is what it was."""
    vendor.script = answer_json(WHOLE)
    history = talk(
        user(text("a")),
        assistant({"type": "thinking", "thinking": "Hm.", "signature": ""}, tool_use()),
        user(tool_result()),
        model="claude-x",
    )
    await gateway.post("/v1/messages", history)
    assert (
        vendor.seen[0].json()["messages"]
        == talk(user(text("a")), assistant(tool_use()), user(tool_result()))["messages"]
    )


async def test_failover_between_dialects_gives_one_answer_in_the_callers(
    gateway: Serving, vendor: FakeUpstream
) -> None:
    vendor.script = _first_fails(stream(*FRAMES))
    relayed = await gateway.post("/v1/messages", message(model="either", stream=True))
    assert [seen.path for seen in vendor.seen] == ["/v1/chat/completions", "/v1/messages"]
    assert relayed.content.startswith(FRAMES[0])
    vendor.script = stream(*good_stream("Hello"))
    translated = await gateway.post("/v1/messages", message(model="either", stream=True))
    assert translated.content.startswith(b"event: message_start\n")


# Counting


async def count(gateway: Serving, **fields: Any) -> int:
    response = await gateway.post("/v1/messages/count_tokens", message(**fields))
    assert response.status_code == 200
    found: int = response.json()["input_tokens"]
    return found


async def test_anthropic_counts_for_its_own_models(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json({"input_tokens": 12_345})
    document = message(model="alias", system=[text("s")], stop_sequences=["a"], stream=True, metadata={"user_id": "u"})
    response = await gateway.post("/v1/messages/count_tokens", document, headers={"anthropic-version": "2026-10-21"})
    assert response.json() == {"input_tokens": 12_345}
    seen = vendor.seen[0]
    assert seen.path == "/v1/messages/count_tokens"
    assert seen.json() == {"model": "claude-x", "system": [text("s")], "messages": document["messages"]}
    assert (seen.header("x-api-key"), seen.header("anthropic-version")) == ("secret-of-claude", "2026-10-21")
    assert gateway.settlements == []


@pytest.mark.parametrize(
    "script",
    [
        answer_json({"error": {"message": "no"}}, 500),
        answer_json({"error": {"message": "no"}}, 401),
        answer_json({"input_tokens": -1}),
        answer_json({"input_tokens": "many"}),
        answer_json([]),
        answer(200, b"<html>"),
        answer_raw(b""),
    ],
)
async def test_there_is_a_count_whatever_anthropic_says(gateway: Serving, vendor: FakeUpstream, script: Any) -> None:
    vendor.script = script
    assert 5 < await count(gateway, model="claude-x") < 100


async def test_count_covers_each_target_that_the_call_may_go_to(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot(
        [provider("claude", vendor.base_url, kind="anthropic"), provider("other", vendor.base_url)],
        [route("either", ("claude", "claude-x"), ("other", "gpt-4o-mini"))],
    )
    words = "The quick brown fox jumps over the lazy dog. " * 100
    async with serving(tmp_path, snap) as gateway:
        for told in (1, 100_000):
            vendor.script = answer_json({"input_tokens": told})
            assert await count(gateway, model="either", system=words) >= max(told, 1_000)


def _first_fails(then: Any) -> Any:
    async def script(seen: Any, writer: Any) -> bool | None:
        if seen.path.endswith("/chat/completions"):
            return await answer_json({"error": {"message": "no"}}, 500)(seen, writer)
        return await then(seen, writer)  # type: ignore[no-any-return]

    return script
