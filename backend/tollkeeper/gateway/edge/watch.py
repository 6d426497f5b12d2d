"""Cancels the task that serves a call when its caller goes away, or when the server will wait for it no longer.

Our HTTP protocol tells at once through `tollkeeper.connection`; under another server ASGI's `receive` has to be awaited
beside the work.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tollkeeper.gateway.edge.limits import Receive


class Watch:
    __slots__ = ("_is_closed", "_is_gone", "_listener", "_receive", "_serving", "is_late", "is_told")

    def __init__(self, connection: Any, receive: Receive) -> None:
        """`connection`: the extension of our HTTP protocol, None under another server."""
        self._receive = receive
        self._serving = asyncio.current_task() if connection is None else connection.task
        self._listener: asyncio.Task[None] | None = None
        self._is_gone = False
        self._is_closed = False
        # The drain is over and the call is not: its caller is still there to be told.
        self.is_late = False
        # Whether the server tells by itself; else `after` has to be asked.
        self.is_told = connection is not None
        if connection is not None:
            connection.on_disconnect(self._drop)
            connection.on_drain_expired(self._expire)

    async def after(self, read_body: Callable[[], Awaitable[bytes] | bytes]) -> bytes:
        """The body; from its end on a disconnect can be told apart from more of it, so listening begins there."""
        data = read_body()
        if not isinstance(data, bytes):
            data = await data
        self._listener = asyncio.get_running_loop().create_task(self._listen())
        return data

    def absorbs(self) -> bool:
        """Whether the cancellation was this watch's alone; then it is over."""
        return self._is_gone and self._serving is not None and self._serving.uncancel() == 0

    def close(self) -> None:
        self._is_closed = True
        if self._listener is not None:
            self._listener.cancel()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._drop()

    def _drop(self) -> None:
        if not self._is_closed and not self._is_gone and self._serving is not None:
            self._is_gone = True
            self._serving.cancel()

    def _expire(self) -> None:
        if not self._is_closed and not self._is_gone:
            self.is_late = True
            self._drop()
