"""Requests byte by byte, for what no library would send."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Self

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Wire:
    """One connection at a time to the server under test; opened again when it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    async def ask(
        self,
        method: str,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        host: Sequence[bytes] = (b"localhost",),
        body: bytes = b"",
    ) -> tuple[int, bytes, bytes]:
        """Status, head and body of the answer; status 0 when the connection was closed without one."""
        lines = [method.encode() + b" " + target + b" HTTP/1.1", *(b"host: " + name for name in host)]
        lines += [name + b": " + value for name, value in headers]
        lines += [b"content-type: application/json", b"content-length: %d" % len(body)] if body else []
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        try:
            async with asyncio.timeout(20):
                writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
                await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                answer = await reader.readexactly(int(length[1]) if length else 0)
        except (asyncio.IncompleteReadError, ConnectionError):
            self._close()
            return 0, b"", b""
        if b"connection: close" in head.lower():
            self._close()
        return int(head.split(b" ", 2)[1]), head, answer

    def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None
