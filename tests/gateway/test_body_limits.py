"""Sizes and times of request bodies, counted while they arrive."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.gateway.serving import KEY, chat, provider, route, serving, snapshot
from tests.gateway.test_bad_input import error_of, head, raw
from tests.gateway.upstream import FakeUpstream
from tollkeeper.gateway.edge import limits

HEADERS = (f"authorization: Bearer {KEY}", "content-type: application/json", "connection: close")


async def test_chunked_body_over_the_limit_is_413_while_it_arrives(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "gpt-4o-mini"))])
    async with serving(tmp_path, snap, max_body_bytes=2048) as gateway:
        part = b"400\r\n" + b" " * 1024 + b"\r\n"
        response = await raw(gateway, head(*HEADERS, "transfer-encoding: chunked"), more=[part] * 4)
        status, error = error_of(response)
    assert (status, error["code"]) == (413, "payload_too_large")
    assert vendor.seen == []


async def test_chunked_body_is_read_to_its_end(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "gpt-4o-mini"))])
    body = json.dumps(chat()).encode()
    pieces = [b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:20], body[20:])]
    async with serving(tmp_path, snap) as gateway:
        response = await raw(gateway, head(*HEADERS, "transfer-encoding: chunked"), more=[*pieces, b"0\r\n\r\n"])
    assert response.startswith(b"HTTP/1.1 200")
    assert vendor.seen[0].body == body


async def test_body_that_does_not_come_is_408(
    tmp_path: Path, vendor: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_SECONDS", 0.05)
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "gpt-4o-mini"))])
    async with serving(tmp_path, snap) as gateway:
        status, error = error_of(await raw(gateway, head(*HEADERS, "content-length: 100") + b'{"mod'))
    assert (status, error["code"]) == (408, "request_timeout")


async def test_caller_that_leaves_before_its_body_is_complete_is_forgotten(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "gpt-4o-mini"))])
    async with serving(tmp_path, snap) as gateway:
        host, port = gateway.origin.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head(*HEADERS, "content-length: 100") + b'{"mod')
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        while not gateway.log:
            await asyncio.sleep(0.005)
    assert gateway.log[0]["ending"] == "dropped"
    assert vendor.seen == []
