"""A client that reads slowly slows its vendor down instead of filling our memory."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.gateway.serving import KEY, Serving, chat, provider, route, serving, snapshot
from tests.gateway.upstream import DONE, STREAM_HEAD, FakeUpstream, Seen, chunk, event, http_chunk
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.web.http_connections import Connections
from tollkeeper.web.http_limits import HttpLimits
from tollkeeper.web.http_protocol import HttpProtocol

MB = 1_000_000
WHOLE = 50 * MB
# The kernel's own buffers on both ways: what a receiver is given grows by itself, to 6 MB or more.
KERNEL = 25 * MB
# What waits for the client at the gateway: the bound, and one read of the vendor's.
OURS = MB
PIECE = event(chunk({"content": "word " * 200}))


class Torrent:
    """A vendor that writes as fast as it is let, up to 50 MB."""

    def __init__(self, vendor: FakeUpstream) -> None:
        self.written = 0
        self.is_gone = False
        vendor.script = self._run

    async def _run(self, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        writer.write(STREAM_HEAD)
        try:
            while self.written < WHOLE:
                writer.write(http_chunk(PIECE * 16))
                self.written += len(PIECE) * 16
                await writer.drain()
            writer.write(http_chunk(event(chunk({}, "stop")) + DONE) + b"0\r\n\r\n")
            await writer.drain()
        except ConnectionError:
            self.is_gone = True
            raise


@asynccontextmanager
async def reading(gateway: Serving) -> AsyncIterator[asyncio.StreamReader]:
    """The answer on a connection that takes in little by itself."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    raw.setblocking(False)
    address = urlsplit(gateway.origin)
    await asyncio.get_running_loop().sock_connect(raw, (address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=4_096)
    body = json.dumps(chat(stream=True)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
    writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    try:
        yield reader
    finally:
        writer.transport.abort()


async def dribble(reader: asyncio.StreamReader, torrent: Torrent) -> int:
    """Read a kilobyte a second or so until the vendor stands still; how much it had written by then."""
    still, before = 0, -1
    for _ in range(120):
        await reader.read(256)
        await asyncio.sleep(0.25)
        still = still + 1 if torrent.written == before else 0
        before = torrent.written
        if still >= 4 and before:
            return before
    raise AssertionError(f"the vendor was never held back: {torrent.written} bytes")


class Opened(Connections):
    """Connections that a test can look at."""

    def __init__(self) -> None:
        super().__init__(HttpLimits())
        self.all: list[Any] = []

    def opened(self, connection: Any, *others: Any) -> bool:
        self.all.append(connection)
        return super().opened(connection, *others)

    def bytes_waiting(self) -> int:
        return sum(one.transport.get_write_buffer_size() for one in self.all)


@asynccontextmanager
async def running(folder: Path, vendor: FakeUpstream) -> AsyncIterator[tuple[Serving, Opened]]:
    connections = Opened()
    one = provider("one", vendor.base_url, options={"cancel_stops_billing": True})
    snap = snapshot([one], [route("gpt-4o-mini", ("one", "a"))])
    async with serving(folder, snap, http=partial(HttpProtocol, connections)) as gateway:
        yield gateway, connections


async def test_slow_client_slows_the_vendor_and_gets_everything_in_the_end(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    torrent = Torrent(vendor)
    async with running(tmp_path, vendor) as (gateway, connections), reading(gateway) as reader:
        assert await dribble(reader, torrent) < KERNEL
        assert connections.bytes_waiting() <= OURS
        taken, end = 0, b""
        while not end.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
            part = await reader.read(262_144)
            assert part, end
            taken += len(part)
            end = (end + part)[-64:]
        assert taken > WHOLE - KERNEL
        (row,) = await gateway.settled()
        assert row.status is CallStatus.OK


async def test_slow_client_that_leaves_ends_the_vendors_work(tmp_path: Path, vendor: FakeUpstream) -> None:
    torrent = Torrent(vendor)
    async with running(tmp_path, vendor) as (gateway, _):
        async with reading(gateway) as reader:
            await dribble(reader, torrent)
        (row,) = await gateway.settled()
        assert row.status is CallStatus.CANCELLED
        for _ in range(2_000):
            if torrent.is_gone:
                break
            await asyncio.sleep(0.005)
        assert torrent.is_gone
        assert torrent.written < KERNEL
