"""One request and its response: the ASGI side of a connection. The wire side is `http_protocol`.

It differs from uvicorn's own cycle where the hot path or a promise asks for it: head and first body leave in one write,
nothing is allocated for waiting unless somebody waits, and the application can learn at once that its client has gone
(`on_disconnect`), which ASGI itself has no word for.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from uvicorn._types import ASGI3Application, ASGIReceiveEvent, ASGISendEvent, HTTPScope
from uvicorn.protocols.http.flow_control import FlowControl

from tollkeeper.web.http_limits import STATUS_LINES

logger = logging.getLogger("tollkeeper.http")

# Everything but control characters; CR and LF are counted apart, so that none can hide inside a value.
_FIELD_BYTES: Final = bytes(byte for byte in range(256) if (byte >= 0x20 and byte != 0x7F) or byte in b"\t\r\n")
_FRAMING_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive"})
# Above this, copying the body behind its head costs more than a second buffer in the same writev.
_COPY_BYTES: Final = 32 * 1024


class Wire(Protocol):
    """What a cycle needs of its connection."""

    transport: asyncio.Transport
    flow: FlowControl

    @property
    def default_head(self) -> bytes: ...
    @property
    def draining(self) -> bool: ...
    def body_wanted(self) -> None: ...
    def response_done(self, cycle: "HttpCycle") -> None: ...
    def response_failed(self, cycle: "HttpCycle") -> None: ...


class HttpCycle:
    __slots__ = (
        "_body",
        "_callbacks",
        "_chunked",
        "_delivered",
        "_drain_callbacks",
        "_event",
        "_expects_continue",
        "_flow",
        "_head",
        "_http_1_0",
        "_is_head",
        "_remaining",
        "_started",
        "_task",
        "_transport",
        "_wire",
        "body_seconds",
        "buffered",
        "complete",
        "disconnected",
        "keep_alive",
        "more_body",
        "on_wire",
        "wanted",
    )

    def __init__(self, wire: Wire, *, is_head: bool, http_1_0: bool, keep_alive: bool, expects_continue: bool) -> None:
        self._wire = wire
        self._transport = wire.transport
        self._flow = wire.flow
        self._is_head = is_head
        self._http_1_0 = http_1_0
        self.keep_alive = keep_alive
        self._expects_continue = expects_continue
        self._callbacks: tuple[Callable[[], object], ...] = ()
        self._drain_callbacks: tuple[Callable[[], object], ...] = ()
        self._event: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self.body_seconds: float | None = None
        self.disconnected = False
        # The request's body.
        self._body: list[bytes] = []
        self.buffered = 0
        self.more_body = True
        self.wanted = False
        self._delivered = False
        # The response.
        self._head = b""
        self._started = False
        self._chunked = False
        self._remaining: int | None = None
        self.on_wire = False
        self.complete = False

    # ── For the application, as scope["extensions"]["tollkeeper.connection"] ──

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """What runs the application."""
        return self._task

    def on_disconnect(self, callback: Callable[[], object]) -> None:
        """Call `callback` once, at once, when the client goes away before its answer is complete.

        The application opts in per request; without it nothing is cancelled. The callback runs inside the event loop's
        notice of the lost connection, so it must be quick and must not raise (`task.cancel` is meant). A client that
        has gone already means the call happens here.
        """
        if self.disconnected:
            callback()
        else:
            self._callbacks += (callback,)

    def on_drain_expired(self, callback: Callable[[], object]) -> None:
        """Call `callback` once when the server must end while this answer is still under way.

        A stream then has a moment to send its last, typed event. What is not complete after it is cancelled.
        """
        self._drain_callbacks += (callback,)

    @property
    def draining(self) -> bool:
        """Whether the server is about to end: readiness says no from here on."""
        return self._wire.draining

    def allow_body_seconds(self, seconds: float) -> None:
        """Replace the total deadline of this request's body (a route for large uploads)."""
        self.body_seconds = seconds

    def take_body(self) -> bytes | None:
        """The request's body where it is whole already, in place of `receive`; None where that has to be awaited."""
        if self.more_body or self._delivered or self.disconnected or self.complete:
            return None
        self.wanted = self._delivered = True
        self._expects_continue = False  # Nothing is left to be waited for.
        self._wire.body_wanted()
        parts, self._body = self._body, []
        self.buffered = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def answer(self, status: int, lines: int, head: bytes, body: bytes) -> bool:
        """A whole answer in one step, for an application whose every microsecond counts; ASGI's messages say the same.

        `head` is so many rendered header lines without any of framing. False, and nothing is done, where something is out
        of the ordinary: then `send` takes care of it.
        """
        if not self._is_plain or self._started or self.more_body:
            return False
        wire = self._wire
        if wire.draining or len(body) > _COPY_BYTES:
            return False
        _check_lines(head, lines)
        self._started = self.on_wire = self.complete = True
        self._transport.write(
            b"%b%b%bcontent-length: %d\r\n\r\n%b"
            % (STATUS_LINES.get(status) or _status_line(status), wire.default_head, head, len(body), body)
        )
        if self._event is not None:
            self._event.set()
        wire.response_done(self)
        return True

    def begin(self, status: int, lines: int, head: bytes) -> bool:
        """The head of a stream, to leave with its first piece; otherwise as `answer`."""
        wire = self._wire
        if not self._is_plain or self._started or self.more_body or wire.draining:
            return False
        _check_lines(head, lines)
        status_line = STATUS_LINES.get(status) or _status_line(status)
        self._head = b"%b%b%btransfer-encoding: chunked\r\n\r\n" % (status_line, wire.default_head, head)
        self._started = self._chunked = True
        return True

    def push(self, data: bytes, *, is_last: bool) -> bool:
        """One more piece of a stream, as `answer` is to a whole answer."""
        if not (self._chunked and data and self._is_plain) or self.complete:
            return False
        tail = b"\r\n0\r\n\r\n" if is_last else b"\r\n"
        self._transport.write(b"%b%x\r\n%b%b" % (self._head, len(data), data, tail))
        self._head = b""
        self.on_wire = True
        if is_last:
            self.complete = True
            if self._event is not None:
                self._event.set()
            self._wire.response_done(self)
        return True

    def cut(self) -> None:
        """End the connection in the middle of the response: its client must not take it for whole."""
        self._wire.response_failed(self)

    @property
    def _is_plain(self) -> bool:
        return self.keep_alive and not (self._is_head or self.disconnected or self._flow.write_paused)

    # ── For the connection ──

    @property
    def can_probe(self) -> bool:
        """Whether `no_op` exists in the present state of the response."""
        return self._chunked if self.on_wire else not self._http_1_0

    @property
    def no_op(self) -> bytes:
        """Bytes without meaning, to learn whether the client still answers.

        Before the response that is an interim one. Inside a chunked body it is a leading zero of the next chunk's size.
        """
        return b"0" if self.on_wire else b"HTTP/1.1 100 Continue\r\n\r\n"

    def feed(self, body: bytes) -> None:
        self._body.append(body)
        self.buffered += len(body)
        if self._event is not None:
            self._event.set()

    def end_of_body(self) -> None:
        self.more_body = False
        if self._event is not None:
            self._event.set()

    def drop(self) -> None:
        """The client is gone, or will not get an answer from the application."""
        if self.complete or self.disconnected:
            return
        self.disconnected = True
        if self._event is not None:
            self._event.set()
        callbacks, self._callbacks = self._callbacks, ()
        for callback in callbacks:
            callback()

    def drain_expired(self) -> None:
        callbacks, self._drain_callbacks = self._drain_callbacks, ()
        if not (self.complete or self.disconnected):
            for callback in callbacks:
                callback()

    def start(
        self, loop: asyncio.AbstractEventLoop, app: ASGI3Application, scope: HTTPScope, tasks: set["asyncio.Task[None]"]
    ) -> None:
        self._task = task = loop.create_task(self._run(app, scope, tasks))
        tasks.add(task)

    async def _run(self, app: ASGI3Application, scope: HTTPScope, tasks: set["asyncio.Task[None]"]) -> None:
        """Boundary: whatever the application raises ends here, as a 500 or a cut connection."""
        try:
            await app(scope, self.receive, self.send)
            if not (self.complete or self.disconnected):
                logger.error("response_incomplete", extra={"path": scope["path"]})
                self._wire.response_failed(self)
        except asyncio.CancelledError:
            self._wire.response_failed(self)
            raise
        except Exception:
            logger.exception("application_failed", extra={"path": scope["path"]})
            self._wire.response_failed(self)
        finally:
            # They lead back to this cycle and to what the request held.
            self._callbacks = self._drain_callbacks = ()
            task, self._task = self._task, None
            if task is not None:
                tasks.discard(task)

    # ── ASGI ──

    async def receive(self) -> ASGIReceiveEvent:
        if not self._delivered:
            self.wanted = True
            if self._expects_continue and not self._started:
                self._expects_continue = False
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._wire.body_wanted()
        while not (self.disconnected or self.complete):
            if not self._delivered and (self._body or not self.more_body):
                body = b"".join(self._body)
                self._body = []
                self.buffered = 0
                self._delivered = not self.more_body
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            await self._event.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: ASGISendEvent) -> None:
        flow = self._flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.body":
            body = message.get("body", b"")
            more_body = message.get("more_body", False)
            if body and more_body and self._chunked and self.on_wire:  # The hot path of a stream.
                self._transport.write(b"%x\r\n%b\r\n" % (len(body), body))
            else:
                self._send_body(body, more_body)
        elif message["type"] == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
        else:
            raise RuntimeError(f"Unexpected ASGI message {message['type']!r}.")

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Render the head and keep it: ASGI lets it leave with the first body message, which saves a write."""
        if self._started:
            raise RuntimeError("The response has already started.")
        wire = self._wire
        # A body that is still on its way makes the connection useless for a next request.
        keep_alive = self.keep_alive and not (self.more_body or wire.draining)
        length: int | None = None
        parts = [STATUS_LINES.get(status) or _status_line(status), wire.default_head]
        lines = 1 + parts[1].count(b"\n")
        for name, value in headers:
            name = name.lower()  # noqa: PLW2901  # ASGI asks for lower case; not every framework obeys.
            if name in _FRAMING_HEADERS:
                if name == b"content-length":
                    length = int(value)
                else:  # These are ours to say.
                    keep_alive = keep_alive and not (name == b"connection" and b"close" in value.lower())
                    continue
            parts += (name, b": ", value, b"\r\n")
            lines += 1
        if framing := self._choose_framing(status, length):
            parts.append(framing)
            lines += 1
        if not keep_alive:
            parts.append(b"connection: close\r\n")
            lines += 1
        head = b"".join(parts)
        _check_lines(head, lines)
        self.keep_alive = keep_alive
        self._head = head + b"\r\n"
        self._started = True

    def _choose_framing(self, status: int, length: int | None) -> bytes:
        """Decide how the end of the body will be known; returns the header line that says so, if one is still missing."""
        self._chunked = False
        if self._is_head or status in {204, 304}:
            self._remaining = 0
        elif length is not None or self._http_1_0:
            self._remaining = length  # HTTP/1.0 without a length: the end of the connection is the end of the body.
        else:
            self._chunked = True
            return b"transfer-encoding: chunked\r\n"
        return b""

    def _send_body(self, body: bytes, more_body: bool) -> None:
        if not self._started or self.complete:
            raise RuntimeError("A response body needs a started, unfinished response.")
        parts: tuple[bytes, ...]
        if self._chunked:
            tail = b"\r\n" if more_body else b"\r\n0\r\n\r\n"
            parts = (
                (self._head, b"%x\r\n" % len(body), body, tail)
                if body
                else (self._head, b"" if more_body else tail[2:])
            )
        elif self._remaining is None:
            parts = (self._head, body)
        else:
            if self._is_head:
                body = b""
            self._remaining -= len(body)
            if self._remaining < 0 or (self._remaining and not more_body):
                raise RuntimeError("The response body's length differs from its Content-Length.")
            parts = (self._head, body)
        self._write(parts, len(body))
        if not more_body:
            self.complete = True
            if self._event is not None:
                self._event.set()
            self._wire.response_done(self)

    def _write(self, parts: tuple[bytes, ...], body_bytes: int) -> None:
        transport = self._transport
        self._head = b""
        self.on_wire = True
        if body_bytes > _COPY_BYTES:
            transport.writelines([part for part in parts if part])
        elif data := b"".join(parts):
            transport.write(data)


def _status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d \r\n" % status


def _check_lines(head: bytes, lines: int) -> None:
    """No value may begin a line of its own: what decides is that there are as many ends of lines as lines."""
    if head.count(b"\n") != lines or head.count(b"\r") != lines or head.translate(None, _FIELD_BYTES):
        raise RuntimeError("A response header holds a control character.")
