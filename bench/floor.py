"""The floor: the least a Python gateway must do, and therefore what every figure here is divided by.

A bare ASGI app on uvicorn (uvloop, httptools) and one aiohttp session: parse the call once, send it on, parse the answer (or
each chunk of it) once, relay the bytes as they came. No authentication, limits, journal, errors or metrics.
"""

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import orjson
import uvicorn
from yarl import URL

HOST = "127.0.0.1"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_HEADERS = [(b"content-type", b"application/json")]
_STREAM_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class Floor:
    def __init__(self, upstream: str) -> None:
        self._upstream = upstream.rstrip("/").removesuffix("/v1")
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[str, URL] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["method"] == "POST":
            await self._relay(scope, receive, send)
        else:
            await answer(send, b"{}", JSON_HEADERS)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._session = open_session()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._session is not None
        body = await read_body(receive)
        orjson.loads(body)
        path = scope["path"]
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = URL(self._upstream + path, encoded=True)
        async with self._session.post(url, data=body, headers=UPSTREAM_HEADERS, allow_redirects=False) as response:
            if response.content_type == "text/event-stream":
                await relay_events(response.content.iter_any(), response.status, send)
            else:
                content = await response.read()
                orjson.loads(content)
                await answer(send, content, JSON_HEADERS, response.status)


UPSTREAM_HEADERS = {"content-type": "application/json", "authorization": "Bearer none"}


def open_session() -> aiohttp.ClientSession:
    """The client as the gateway uses it: unlimited pool, no cookies, no decompression, no environment."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120),
        skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
    )


async def read_body(receive: Receive) -> bytes:
    message = await receive()
    if not message.get("more_body"):
        first: bytes = message.get("body", b"")
        return first
    parts = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


async def answer(send: Send, body: bytes, headers: list[tuple[bytes, bytes]], status: int = 200) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def relay_events(reads: AsyncIterator[bytes], status: int, send: Send) -> None:
    """Parse each event once and let the events of one read leave in one write."""
    await send({"type": "http.response.start", "status": status, "headers": _STREAM_HEADERS})
    rest = b""
    async for data in reads:
        buffer = rest + data if rest else data
        end = buffer.rfind(b"\n\n") + 2
        if end < 2:
            rest = buffer
            continue
        ready, rest = (buffer, b"") if end == len(buffer) else (buffer[:end], buffer[end:])
        for event in ready.split(b"\n\n"):
            if event.startswith(b"data: ") and event != b"data: [DONE]":
                orjson.loads(event[6:])
        await send({"type": "http.response.body", "body": ready, "more_body": True})
    await send({"type": "http.response.body", "body": rest})


def run(make: Callable[[str], ASGIApp], description: str | None) -> None:
    """Serve the floor that `make` builds for the upstream given on the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="base URL of the upstream, with or without /v1")
    given = parser.parse_args()
    uvicorn.run(
        make(given.upstream),
        host=HOST,
        port=given.port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        log_level="warning",
        backlog=4096,
    )


if __name__ == "__main__":
    run(Floor, __doc__)
