"""The second floor: the same bare ASGI app on the gateway's own upstream client instead of aiohttp.

What the gateway adds to this one is its own work alone; the first floor also says what the choice of a client gains.
"""

import time
from typing import Any

import orjson

from bench.floor import JSON_HEADERS, Receive, Scope, Send, answer, read_body, relay_events, run
from tollkeeper.contracts.catalog import ProviderConfig
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.provider import UpstreamRequest
from tollkeeper.gateway.upstream import Upstream


class ThinFloor:
    def __init__(self, upstream: str) -> None:
        self._root = upstream.rstrip("/").removesuffix("/v1")
        self._config = ProviderConfig(
            id=uuid7(), name="mock", kind="openai_compatible", base_url=upstream, allow_private_address=True
        )
        self._upstream: Upstream | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self._upstream = Upstream(Settings(), SystemClock())
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._upstream.aclose()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["method"] == "POST":
            await self._relay(scope, receive, send)
        else:
            await answer(send, b"{}", JSON_HEADERS)

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._upstream is not None
        body = await read_body(receive)
        call: dict[str, Any] = orjson.loads(body)
        response = await self._upstream.send(
            UpstreamRequest(
                method="POST",
                url=self._root + scope["path"],
                headers={},
                body=body,
                config=self._config,
                deadline=time.monotonic() + 600,
                is_stream=bool(call.get("stream")),
            )
        )
        try:
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                await relay_events(response.reads(), response.status, send)
            else:
                content = await response.read()
                orjson.loads(content)
                await answer(send, content, JSON_HEADERS, response.status)
        finally:
            await response.aclose()


if __name__ == "__main__":
    run(ThinFloor, __doc__)
