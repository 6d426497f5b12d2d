"""What one HTTP connection may cost, and the answers when it costs more.

uvicorn has no deadline for headers or bodies and no cap on headers (`SECURITY.md`, section 8), and an ASGI stage is too
late for either. `HttpLimits` are the numbers, the `Refusal`s are the answers; `http_protocol` enforces them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from tollkeeper.core.ids import format_id, uuid7

STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class HttpLimits:
    header_seconds: float = 5.0
    """From accept, or from a request's first byte, until its header block is complete."""
    target_bytes: int = 8 * 1024
    header_count: int = 100
    header_bytes: int = 16 * 1024
    """One header: name and value."""
    head_bytes: int = 64 * 1024
    """The whole header block, request line included; also the most framing a chunked body may send without data."""

    body_bytes_per_second: int = 1024
    body_window_seconds: float = 10.0
    """The rate is judged over consecutive windows of this length, so a stall ends within two of them."""
    body_seconds: float = 300.0
    """For the whole body; a route that takes large uploads asks for more with `HttpCycle.allow_body_seconds`."""
    unread_body_bytes: int = 16 * 1024
    """Buffered while the application has not asked for the body; reading pauses above it."""
    body_buffer_bytes: int = 64 * 1024
    """Buffered while it reads; reading pauses above it."""

    # Longer than the 60 s idle time of the common load balancers: whoever closes second never meets a request that was
    # sent on a connection we had just closed. The slow-header bound is `header_seconds`, not this.
    keep_alive_seconds: float = 65.0
    pipelined_requests: int = 64
    connections: int = 10_000
    reserved_connections: int = 32
    """Accepted above `connections`, for `health_paths` only."""
    connections_per_address: int | None = None
    health_paths: frozenset[str] = frozenset({"/health/live", "/health/ready", "/metrics"})

    linger_seconds: float = 1.0
    linger_bytes: int = 256 * 1024
    """What is still read and thrown away after a refusal, so that the client sees the answer and not a reset."""
    write_buffer_bytes: int = 256 * 1024
    write_idle_seconds: float = 30.0
    """A client that takes no byte for this long while bytes wait for it is cut off."""
    probe_seconds: float = 0.05
    """How often a half-closed connection is asked whether its client still lives."""
    sweep_seconds: float = 0.5
    """How often deadlines are looked at: one timer per process, not one per request."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer given before, or instead of, the application; the connection closes after it."""

    status: int
    code: str
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def render(self, default_head: bytes) -> bytes:
        """The whole response, shaped as OpenAI's errors are, on one line of the wire each."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": None, "code": self.code}
        body = json.dumps({"error": error}).encode()
        head = [
            STATUS_LINES[self.status],
            default_head,
            b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body),
            b"x-request-id: %b\r\n" % format_id("req", uuid7()).encode(),
            *render_headers(self.headers),
            b"connection: close\r\n\r\n",
        ]
        return b"".join((*head, body))


class RefusedError(Exception):
    """Raised inside the parser's callbacks to stop it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def render_headers(headers: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    return [b"%b: %b\r\n" % header for header in headers]


HEADER_TIMEOUT: Final = Refusal(
    408, "header_timeout", "The request's headers did not arrive in time. Send them at once."
)
BODY_TIMEOUT: Final = Refusal(408, "body_timeout", "The request's body arrived too slowly. Send it again, faster.")
URI_TOO_LONG: Final = Refusal(414, "uri_too_long", "The request target is too long. Move its data into the body.")
HEADERS_TOO_LARGE: Final = Refusal(
    431, "headers_too_large", "The request has too many or too large headers. Send less."
)
BAD_FRAMING: Final = Refusal(400, "bad_request_framing", "The request is not well-formed HTTP/1.1.")
TOO_MUCH_PIPELINED: Final = Refusal(
    400, "bad_request_framing", "Too many requests were sent ahead of their answers. Wait for answers in between."
)
UPGRADE_REFUSED: Final = Refusal(
    400,
    "bad_request_framing",
    "Protocol upgrades (h2c, WebSocket) are not offered here. Send a plain HTTP/1.1 request without an Upgrade header.",
)
METHOD_NOT_ALLOWED: Final = Refusal(
    405,
    "method_not_allowed",
    "This HTTP method is not served here.",
    ((b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),),
)
TOO_MANY_CONNECTIONS: Final = Refusal(
    503,
    "too_many_connections",
    "The server has too many open connections. Try again shortly and reuse connections.",
    ((b"retry-after", b"1"),),
)
INTERNAL_ERROR: Final = Refusal(500, "internal_error", "The server failed to answer. Try again; report the request id.")
