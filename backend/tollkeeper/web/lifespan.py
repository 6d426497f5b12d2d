"""ASGI's lifespan, with the application's own exception when its start fails."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


class Lifespan:
    """Start an ASGI application, keep its `state` for the requests, stop it."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._started = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when the application is ready; raises what it raised."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self._task = asyncio.create_task(self._run(scope), name="lifespan")
        self._events.put_nowait({"type": "lifespan.startup"})
        await self._started.wait()
        if self._task.done():
            task, self._task = self._task, None
            task.result()
            raise RuntimeError("The application ended during its start.")

    async def stop(self) -> None:
        """Raises what the application raised while it stopped."""
        task, self._task = self._task, None
        if task is not None:
            self._events.put_nowait({"type": "lifespan.shutdown"})
            await task

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, self._events.get, self._send)
        finally:
            # The waiter sees the task done only in the loop's next turn, after this one has ended.
            asyncio.get_running_loop().call_soon(self._started.set)

    async def _send(self, message: dict[str, Any]) -> None:
        # A failed start or stop also raises inside the application: that says more than the message.
        if message["type"] == "lifespan.startup.complete":
            self._started.set()
