"""Streams under bad conditions: split, cut, silent, broken, abandoned."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.serving import KEY, Serving, chat, events_of, provider, route, serving, snapshot
from tests.gateway.upstream import (
    DONE,
    STREAM_HEAD,
    FakeUpstream,
    answer_json,
    answer_raw,
    chunk,
    completion,
    event,
    good_stream,
    http_chunk,
    silent,
    stream,
)
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.web.http_connections import Connections
from tollkeeper.web.http_limits import HttpLimits
from tollkeeper.web.http_protocol import HttpProtocol

STREAM = chat(stream=True)


def texts(body: str) -> str:
    found = [json.loads(data) for data in events_of(body) if data != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for part in found for choice in part.get("choices", ()))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 17, 64])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
async def test_stream_split_anywhere_is_the_same_stream(
    gateway: Serving, vendor: FakeUpstream, size: int, ending: bytes
) -> None:
    whole = b"".join(good_stream("Grüße ✓ ", "🎈!")).replace(b"\n", ending)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    head = STREAM_HEAD + b"".join(http_chunk(piece) for piece in pieces) + b"0\r\n\r\n"
    vendor.script = answer_raw(head, closes=False)
    response = await gateway.post(body=STREAM)
    assert texts(response.text) == "Grüße ✓ 🎈!"
    assert events_of(response.text)[-1] == "[DONE]"
    assert b"\r" not in response.content


@pytest.mark.parametrize(
    "noise",
    [b": ping\n\n", b"event: ping\ndata:\n\n", b"id: 7\n\n", b"retry: 10\n\n", b"\n\n\n", b"\xef\xbb\xbf: hi\n\n"],
)
async def test_vendors_noise_does_not_reach_the_client(gateway: Serving, vendor: FakeUpstream, noise: bytes) -> None:
    first, *rest = good_stream("hi")
    vendor.script = stream(noise, first, noise.removeprefix(b"\xef\xbb\xbf"), *rest)
    response = await gateway.post(body=STREAM)
    assert texts(response.text) == "hi"
    for word in ("ping", "id:", "retry", "event:", "data:\n"):
        assert word not in response.text.replace('"id":', "")


async def test_data_without_space_and_unclosed_last_event_are_read(gateway: Serving, vendor: FakeUpstream) -> None:
    pieces = [part.replace(b"data: ", b"data:") for part in good_stream("hi")]
    vendor.script = stream(*pieces[:-1], b"data:[DONE]")
    response = await gateway.post(body=STREAM)
    assert texts(response.text) == "hi"
    assert response.text.endswith("data: [DONE]\n\n")


async def test_stream_without_done_is_complete_when_its_choices_are(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*good_stream("hi")[:-1])
    response = await gateway.post(body=STREAM)
    assert events_of(response.text)[-1] == "[DONE]"


async def test_vendor_that_ignores_stream_is_streamed_all_the_same(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(completion("all at once"))
    response = await gateway.post(body=STREAM)
    assert texts(response.text) == "all at once"
    (row,) = await gateway.settled()
    assert row.usage.input == 10


@pytest.mark.parametrize(
    "bad_end",
    [
        [],
        [b"data: not json\n\n"],
        [b"data: [1]\n\n"],
        [event({"error": {"message": "vendor says stop", "code": "overloaded"}})],
        [event({"error": "as a string"})],
        [event({"object": "error", "message": "vLLM style", "code": 500})],
        [b"event: error\n" + event({"error": {"message": "typed"}})],
        [event(chunk({}, "error"))],
    ],
)
@pytest.mark.parametrize("ends", [True, False])
async def test_stream_that_breaks_ends_with_an_error_event_and_a_right_bill(
    gateway: Serving, vendor: FakeUpstream, bad_end: list[bytes], ends: bool
) -> None:
    vendor.script = stream(*good_stream("x" * 80)[:2], *bad_end, ends=ends)
    response = await gateway.post(body=STREAM)
    assert response.status_code == 200
    *_, last = events_of(response.text)
    body = json.loads(last)["error"]
    assert set(body) == {"message", "type", "param", "code", "request_id"}
    assert body["request_id"] == response.headers["x-request-id"]
    assert "[DONE]" not in response.text
    (row,) = await gateway.settled()
    assert (row.status, row.error_code) == (CallStatus.ERROR, body["code"])
    assert (row.usage.output, row.usage.is_estimated) == (20, True)


async def test_silence_inside_a_stream_is_an_error_event(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = silent(first=STREAM_HEAD + http_chunk(b"".join(good_stream("hi")[:2])))
    snap = snapshot([provider("one", vendor.base_url, idle_seconds=0.2)], [route("gpt-4o-mini", ("one", "a"))])
    async with serving(tmp_path, snap) as gateway:
        response = await gateway.post(body=STREAM)
    assert json.loads(events_of(response.text)[-1])["error"]["code"] == "upstream_timeout"
    await asyncio.wait_for(vendor.seen[0].gone.wait(), 2)


async def test_long_silence_before_the_first_token_is_bridged_by_comments(tmp_path: Path, vendor: FakeUpstream) -> None:
    """RULING 18: the 200 goes out after `commit_after_seconds`, comments keep the line open."""

    async def slow(_seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        await writer.drain()
        await asyncio.sleep(0.35)
        writer.write(http_chunk(b"".join(good_stream("at last"))) + b"0\r\n\r\n")

    vendor.script = slow
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "a"))])
    async with (
        serving(tmp_path, snap, commit_after_seconds=0.1, keepalive_comment_seconds=0.1) as gateway,
        gateway.client.stream("POST", "/v1/chat/completions", json=STREAM, headers={"api-key": KEY}) as response,
    ):
        assert response.status_code == 200
        received = [piece async for piece in response.aiter_bytes()]
    body = b"".join(received)
    assert received[0] == b": keep-alive\n\n"
    assert 2 <= body.count(b": keep-alive\n\n") <= 4
    assert texts(body.decode().replace(": keep-alive\n\n", "")) == "at last"


async def test_failure_after_the_200_is_an_error_event(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = silent(first=STREAM_HEAD)
    snap = snapshot(
        [provider("one", vendor.base_url, first_byte_seconds=0.2, idle_seconds=0.3)],
        [route("gpt-4o-mini", ("one", "a"))],
    )
    async with serving(tmp_path, snap, commit_after_seconds=0.05, keepalive_comment_seconds=0.1) as gateway:
        response = await gateway.post(body=STREAM)
        (row,) = await gateway.settled()
    assert response.status_code == 200
    assert json.loads(events_of(response.text)[-1])["error"]["code"] == "upstream_timeout"
    assert row.status is CallStatus.ERROR


async def test_comments_fill_silence_between_tokens(tmp_path: Path, vendor: FakeUpstream) -> None:
    first, *rest = good_stream("a", "b")
    vendor.script = stream(first + rest[0], b"".join(rest[1:]), pause=0.25)
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "a"))])
    async with serving(tmp_path, snap, commit_after_seconds=0.1, keepalive_comment_seconds=0.1) as gateway:
        response = await gateway.post(body=STREAM)
    assert response.text.count(": keep-alive\n\n") >= 1
    assert texts(response.text.replace(": keep-alive\n\n", "")) == "ab"


@pytest.fixture(params=["tollkeeper", "uvicorn"])
async def either_server(request: pytest.FixtureRequest, tmp_path: Path, vendor: FakeUpstream) -> AsyncIterator[Serving]:
    """Under our own HTTP protocol, which tells of a lost client, and under uvicorn's, which has to be asked."""
    one = provider("one", vendor.base_url, options={"cancel_stops_billing": True})
    snap = snapshot([one], [route("gpt-4o-mini", ("one", "a"))])
    connections = Connections(HttpLimits())
    http: Any = partial(HttpProtocol, connections) if request.param == "tollkeeper" else "httptools"
    async with serving(tmp_path, snap, http=http) as running:
        yield running


async def leave(gateway: Serving, vendor: FakeUpstream, body: dict[str, Any], wait_for: bytes) -> None:
    """Send a call and go away when `wait_for` has come back (empty: when the vendor has the call)."""
    host, port = gateway.origin.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    if wait_for:
        await asyncio.wait_for(reader.readuntil(wait_for), 5)
    while not vendor.seen:
        await asyncio.sleep(0.002)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("is_stream", "first", "wait_for"),
    [
        (False, b"", b""),
        (True, b"", b""),
        (True, STREAM_HEAD, b""),
        (True, STREAM_HEAD + http_chunk(b"".join(good_stream("y" * 40)[:2])), b"yyyy"),
    ],
    ids=["whole", "before headers", "before the first token", "mid-stream"],
)
async def test_client_that_leaves_cancels_the_vendor_at_once_and_is_settled_once(
    either_server: Serving, vendor: FakeUpstream, is_stream: bool, first: bytes, wait_for: bytes
) -> None:
    """Case 52."""
    vendor.script = silent(first=first)
    await leave(either_server, vendor, chat(stream=is_stream), wait_for)
    await asyncio.wait_for(vendor.seen[0].gone.wait(), 1)
    (row,) = await either_server.settled()
    assert row.status is CallStatus.CANCELLED
    assert row.usage.is_estimated
    assert row.usage.input > 0
    assert row.usage.output == (10 if wait_for else 0)
    assert either_server.log[0]["ending"] == "dropped"
    # And the gateway goes on.
    vendor.script = answer_json(completion())
    assert (await either_server.post()).status_code == 200
    assert len(either_server.settlements) == 2


async def test_finished_stream_gives_its_connection_back(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*good_stream("hi"))
    for _ in range(5):
        await gateway.post(body=STREAM)
    assert vendor.connections == 1


async def test_connection_is_kept_though_the_end_of_the_body_comes_late(gateway: Serving, vendor: FakeUpstream) -> None:
    """Vendors behind a proxy send the last chunk's end apart; a lost connection would cost a TLS handshake each time."""

    async def late(_seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + http_chunk(b"".join(good_stream("hi"))))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"0\r\n\r\n")

    vendor.script = late
    for _ in range(2):
        await gateway.post(body=STREAM)
        await asyncio.sleep(0.1)
    assert vendor.connections == 1


async def test_end_of_the_body_that_never_comes_does_not_hold_the_client(
    gateway: Serving, vendor: FakeUpstream
) -> None:
    vendor.script = silent(first=STREAM_HEAD + http_chunk(b"".join(good_stream("hi"))))
    response = await asyncio.wait_for(gateway.post(body=STREAM), 0.8)
    assert response.content.endswith(DONE)
    (row,) = await gateway.settled()
    assert row.status is CallStatus.OK


async def test_a_stream_of_nothing_is_relayed_and_not_collected(gateway: Serving, vendor: FakeUpstream) -> None:
    """A vendor that sends no content for ever must not fill the memory while its answer is held back."""
    beginning = good_stream("a")[0]
    vendor.script = stream(beginning * 3_000, pause=5)
    data = json.dumps(STREAM).encode()
    headers = {"api-key": KEY, "content-type": "application/json"}
    async with gateway.client.stream("POST", "/v1/chat/completions", content=data, headers=headers) as answer:
        assert answer.status_code == 200
        assert (await anext(answer.aiter_bytes())).startswith(b"data: ")
