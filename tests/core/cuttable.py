"""A TCP relay that a test can cut, freeze, or make lose PostgreSQL's notifications, as a bad network or pooler would."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self
from urllib.parse import urlsplit


class CuttableRelay:
    """`url` reaches the server of the URL it was made for, through this relay."""

    def __init__(self, url: str, *, loses_notifications: bool = False) -> None:
        self._target = urlsplit(url)
        self._loses_notifications = loses_notifications
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_up = True
        self.refused = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, loses_notifications: bool = False) -> AsyncIterator[Self]:
        relay = cls(url, loses_notifications=loses_notifications)
        relay._server = await asyncio.start_server(relay._accept, "127.0.0.1", 0)
        try:
            yield relay
        finally:
            relay._server.close()
            relay.cut()
            await asyncio.gather(*relay._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        userinfo = self._target.netloc.rpartition("@")[0]
        return self._target._replace(
            netloc=f"{userinfo}@127.0.0.1:{port}" if userinfo else f"127.0.0.1:{port}"
        ).geturl()

    def cut(self) -> None:
        """End every connection and refuse new ones."""
        self._is_up = False
        self._flows.set()
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Nothing arrives any more, and nobody is told."""
        self._flows.clear()

    def mend(self) -> None:
        self._is_up = True
        self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_up:
            self.refused += 1
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers |= {writer, there_writer}
        copy_back = self._copy_messages if self._loses_notifications else self._copy
        for copying in (self._copy(reader, there_writer), copy_back(there_reader, writer)):
            task = asyncio.create_task(copying)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def _copy_messages(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """PostgreSQL's messages to the client, without NotificationResponse ('A'). The URL must turn TLS off."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(5)
                body = await reader.readexactly(int.from_bytes(head[1:]) - 4)
                if head[:1] != b"A":
                    writer.write(head + body)
        writer.transport.abort()
