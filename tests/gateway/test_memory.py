"""A call leaves nothing behind: its body may be 32 MB, and workers look for cycles rarely on purpose."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.forms import TYPE, transcription
from tests.gateway.serving import Serving, chat, provider, route, serving, snapshot
from tests.gateway.upstream import (
    FakeUpstream,
    Script,
    answer,
    answer_json,
    answer_raw,
    completion,
    good_stream,
    stream,
)
from tollkeeper.gateway.connection import Connection
from tollkeeper.gateway.stage import Exchange
from tollkeeper.web.http_connections import Connections
from tollkeeper.web.http_limits import HttpLimits
from tollkeeper.web.http_protocol import HttpProtocol

USUAL = answer_json(completion("hello"))
CUT = answer_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
BROKEN = answer_raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {broken\n\n")
CASES = [
    pytest.param(USUAL, chat(), 200, id="whole"),
    pytest.param(stream(*good_stream("a", "b")), chat(stream=True), 200, id="stream"),
    pytest.param(stream(*good_stream("a", "b")[:2]), chat(stream=True), 200, id="stream that is cut"),
    pytest.param(USUAL, b"{no json", 400, id="no JSON"),
    pytest.param(USUAL, chat(n=0), 400, id="refused field"),
    pytest.param(USUAL, chat(model="unknown"), 404, id="unknown model"),
    pytest.param(answer(500, b"no"), chat(), 502, id="provider fails"),
    pytest.param(answer_raw(b""), chat(), 502, id="provider hangs up"),
    pytest.param(CUT, chat(), 502, id="provider cuts its answer"),
    pytest.param(BROKEN, chat(stream=True), 502, id="provider sends garbage"),
]


@pytest.fixture
async def gateway(tmp_path: Path, vendor: FakeUpstream) -> AsyncIterator[Serving]:
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "a"))])
    async with serving(tmp_path, snap, http=partial(HttpProtocol, Connections(HttpLimits()))) as running:
        yield running


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("script", "is_stream", "status"),
    [
        (USUAL, False, 200),
        (stream(*good_stream("a", "b")), True, 200),
        (stream(*good_stream("a", "b")[:2]), True, 200),
        (answer(500, b"no"), True, 502),
    ],
)
async def test_a_translated_call_is_freed_without_the_collector(
    gateway: Serving, vendor: FakeUpstream, script: Script, is_stream: bool, status: int
) -> None:
    vendor.script = script
    body = {**chat(stream=is_stream), "max_tokens": 5}
    assert (await gateway.post("/v1/messages", body)).status_code == status
    for _ in range(100):
        if not _left():
            break
        await asyncio.sleep(0.01)
    assert _left() == []


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(("script", "body", "status"), CASES)
async def test_a_call_is_freed_without_the_collector(
    gateway: Serving, vendor: FakeUpstream, script: Script, body: Any, status: int
) -> None:
    vendor.script = script
    assert (await gateway.post(body=body)).status_code == status
    for _ in range(100):
        if not _left():
            break
        await asyncio.sleep(0.01)
    assert _left() == []


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("path", "script", "body"),
    [
        ("audio/transcriptions", answer_json({"text": "hello"}), transcription(bytes(1_000), model="gpt-4o-mini")),
        ("audio/speech", stream(b"ID3", b"x"), {"model": "gpt-4o-mini", "voice": "a", "input": "x"}),
        ("audio/speech", stream(b"ID3", ends=False), {"model": "gpt-4o-mini", "voice": "a", "input": "x"}),
        ("images/generations", CUT, {"model": "gpt-4o-mini", "prompt": "x"}),
    ],
    ids=["form", "speech", "speech that is cut", "pictures that are cut"],
)
async def test_a_call_beside_text_is_freed_as_well(
    gateway: Serving, vendor: FakeUpstream, path: str, script: Script, body: Any
) -> None:
    vendor.script = script
    with suppress(httpx.RemoteProtocolError):
        await gateway.post(f"/v1/{path}", body, headers=TYPE if isinstance(body, bytes) else {})
    for _ in range(100):
        if not _left():
            break
        await asyncio.sleep(0.01)
    assert _left() == []


def _left() -> list[object]:
    """Calls that are still in memory, and connections to vendors that are closed and still there."""
    return [
        found
        for found in gc.get_objects()
        if isinstance(found, Exchange) or (isinstance(found, Connection) and found.is_closed)
    ]
