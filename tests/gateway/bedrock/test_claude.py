"""Claude on Bedrock in Anthropic's dialect: Messages through InvokeModel, its events inside frames."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.bedrock.test_bedrock import frames
from tests.gateway.clouds.token_service import aws, config, origin
from tests.gateway.serving import chat, events_of, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, answer_json
from tollkeeper.contracts.chat import Usage
from tollkeeper.gateway.simulator.vendors import event_stream

MODEL = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
USAGE = {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 7, "output_tokens": 3}
MESSAGE = {
    "id": "msg_bdrk_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": USAGE,
}
SAID: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 3},
    },
    {"type": "message_stop"},
]


def chunk(event: dict[str, Any]) -> bytes:
    packed = base64.b64encode(json.dumps(event).encode()).decode()
    return event_stream.event("chunk", json.dumps({"bytes": packed, "p": "abc"}).encode())


def claude(vendor: FakeUpstream, **options: Any) -> Any:
    owner = config("bedrock", origin(vendor), aws(), options={"region": "eu-west-1", "api": "anthropic", **options})
    return snapshot([owner], [route("gpt-4o-mini", ("cloud", MODEL))])


async def test_whole_call_has_its_version_in_the_body(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(MESSAGE)
    async with serving(tmp_path, claude(vendor, guardrail={"id": "gr-1", "version": "2"})) as gateway:
        response = await gateway.post(body=chat(max_tokens=9))
        (row,) = await gateway.settled()
    (seen,) = vendor.seen
    assert response.json()["choices"][0]["message"]["content"] == "hello"
    assert seen.path == "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke"
    assert seen.json()["anthropic_version"] == "bedrock-2023-05-31"
    assert not {"model", "stream"} & seen.json().keys()
    assert seen.header("x-amzn-bedrock-guardrailidentifier") == "gr-1"
    assert seen.header("x-amzn-bedrock-guardrailversion") == "2"
    assert row.usage == Usage(input=10, cache_read=7, output=3)


@pytest.mark.parametrize("size", [None, 17])
async def test_callers_of_the_same_dialect_get_the_vendors_own_events(
    tmp_path: Path, vendor: FakeUpstream, size: int | None
) -> None:
    data = b"".join(map(chunk, SAID))
    step = size or len(data)
    vendor.script = frames(*(data[at : at + step] for at in range(0, len(data), step)))
    body = {"model": "gpt-4o-mini", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    async with serving(tmp_path, claude(vendor)) as gateway:
        response = await gateway.post("/v1/messages", body)
        (row,) = await gateway.settled()
    found = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    assert found == SAID
    assert vendor.seen[0].path.endswith("/invoke-with-response-stream")
    assert vendor.seen[0].json() == {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    assert row.usage == Usage(input=10, cache_read=7, output=3)


async def test_stream_in_the_callers_own_words(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = frames(b"".join(map(chunk, SAID)))
    async with serving(tmp_path, claude(vendor)) as gateway:
        response = await gateway.post(body=chat(stream=True))
        await gateway.settled()
    *events, done = events_of(response.text)
    assert done == "[DONE]"
    texts = [choice["delta"].get("content") or "" for data in events for choice in json.loads(data)["choices"]]
    assert "".join(texts) == "hello"


@pytest.mark.parametrize(
    "last",
    [
        event_stream.exception("modelStreamErrorException", b'{"message":"broke"}'),
        event_stream.event("chunk", b'{"bytes":"!!"}'),
        event_stream.event("chunk", b'{"bytes":7}'),
        event_stream.event("chunk", b"[]"),
        event_stream.event("chunk", json.dumps({"bytes": base64.b64encode(b'{"type":7}').decode()}).encode()),
    ],
)
async def test_broken_stream_is_an_error_event(tmp_path: Path, vendor: FakeUpstream, last: bytes) -> None:
    vendor.script = frames(b"".join(map(chunk, SAID[:3])) + last)
    async with serving(tmp_path, claude(vendor)) as gateway:
        response = await gateway.post(body=chat(stream=True))
        (row,) = await gateway.settled()
    assert "hello" in response.text
    assert "error" in json.loads(events_of(response.text)[-1])
    assert row.usage.is_estimated
