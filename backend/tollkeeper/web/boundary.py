"""The outermost ASGI layer of the control plane: request id, security headers, the last catch.

Pure ASGI: it never buffers a body, so streams and static files pass through it as well.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import structlog

from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.web.errors import internal_error, problem

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

API_PREFIX: Final = "/api/v1"
_ALWAYS: Final = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
# An answer of the API is data for one caller: nothing keeps it, nothing runs in it.
_API_ONLY: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class ControlBoundary:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_uuid = uuid7()
        request_id = format_id("req", request_uuid)
        # A state of its own: servers may share one mapping among requests.
        scope["state"] = {**scope.get("state", {}), "request_id": request_id, "request_uuid": request_uuid}
        answer = _Answer(send, request_id, is_api=_is_api(scope["path"]))
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                if "\0" in scope["path"] or b"%00" in scope.get("query_string", b""):
                    refusal = BadRequest("An address may not hold a NUL character.", code="invalid_url")
                    await problem(refusal, request_id)(scope, receive, answer.send)
                    return
                await self._app(scope, receive, answer.send)
            except Exception:
                log.exception("request_failed")
                if answer.is_started:
                    # The status is out; closing the connection short is all that can still be said.
                    raise
                await problem(internal_error(), request_id)(scope, receive, answer.send)


class _Answer:
    """Adds our headers to the answer's first message, unless the route has set them itself."""

    def __init__(self, send: Send, request_id: str, *, is_api: bool) -> None:
        self._send = send
        self._request_id = request_id.encode()
        self._added = (*_ALWAYS, *_API_ONLY) if is_api else _ALWAYS
        self.is_started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_started = True
            headers = list(message.get("headers", ()))
            present = {name.lower() for name, _ in headers}
            headers.extend(header for header in self._added if header[0] not in present)
            headers.append((b"x-request-id", self._request_id))
            message = {**message, "headers": headers}
        await self._send(message)


def _is_api(path: str) -> bool:
    return path == API_PREFIX or path.startswith(API_PREFIX + "/")
