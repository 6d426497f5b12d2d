"""Consoles hosted elsewhere: exactly the listed origins may call the control plane from a browser, and read its answers.

Nothing is reflected that is not on the list, `*` and `null` cannot be on it, and an empty list (the default) means that
no header of CORS is ever sent. The gateway's own paths are not concerned.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_PREFIX: Final = "/api/v1/"
_METHODS: Final = b"GET, POST, PUT, PATCH, DELETE"
_HEADERS: Final = b"authorization, content-type, if-match, idempotency-key, x-tollkeeper-csrf"
_EXPOSED: Final = b"etag, idempotent-replayed, retry-after, x-request-id"
_VARY: Final = (b"vary", b"origin")


class Cors:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_PREFIX):
            await self._app(scope, receive, send)
            return
        listed: frozenset[str] = scope["app"].state.services.settings.listed_origins
        if not listed:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"")
        is_listed = origin.decode("latin-1") in listed
        if is_listed and scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await _answer_preflight(send, origin)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [*_allowing(origin), (b"access-control-expose-headers", _EXPOSED)] if is_listed else []
                message = {**message, "headers": [*message.get("headers", ()), _VARY, *added]}
            await send(message)

        await self._app(scope, receive, add)


async def _answer_preflight(send: Send, origin: bytes) -> None:
    headers = [
        _VARY,
        *_allowing(origin),
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", _HEADERS),
        (b"access-control-max-age", b"600"),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _allowing(origin: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true")]
