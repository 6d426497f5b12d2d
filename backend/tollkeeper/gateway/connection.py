"""One HTTP/1.1 connection to a vendor: sends a request, parses the answer with httptools, holds it to limits.

Built for one kind of traffic (POST a body, read a whole or streamed answer) because a general client costs more than all
the rest of a call. Deadlines are floats that the pool's sweep looks at; a read waits on one future, never on a timer. A deadline ends the
wait and nothing else: whoever holds the connection closes it, or waits on.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, cast

import httptools

from tollkeeper.core.errors import UpstreamError, UpstreamTimeout

HIGH_WATER_BYTES: Final = 262_144
MAX_HEAD_BYTES: Final = 65_536
# What may arrive without yielding a byte of body: chunk extensions, trailers.
MAX_FRAMING_BYTES: Final = 1_048_576
# A pace is judged over no less.
PACE_SECONDS: Final = 10.0
_NO_BODY_STATUS: Final = frozenset({204, 304})


class Disconnected(UpstreamError):
    """The connection ended before a single byte of an answer came."""

    code = "upstream_disconnected"


def too_slow() -> UpstreamTimeout:
    return UpstreamTimeout("The provider's answer comes too slowly.", code="upstream_too_slow")


class Owner(Protocol):
    """The pool, as a connection sees it."""

    def forget(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """`used` counts the requests sent; `deadline` and `silence_seconds` bound the wait for the answer to the latest."""

    def __init__(self, owner: Owner, clock: Callable[[], float]) -> None:
        self._owner = owner
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self.is_closed = False
        self.used = 0
        self.idle_since = 0.0
        self.deadline = 0.0
        self.silence_seconds = 0.0
        # Bytes a second, 0 for any; what was received since when.
        self._least_bytes = 0
        self._judged_since = 0.0
        self._judged_from = 0
        self._begin()

    def _begin(self) -> None:
        # A new parser per answer costs half a microsecond and leaves no state behind.
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.error: UpstreamError | None = None
        self.is_complete = False
        self.is_untouched = True  # no byte of an answer seen
        self._is_busy = False
        self._keeps_alive = False
        self._ends_at_close = False
        self._framing_bytes = 0
        self._parts: list[bytes] = []
        self._size = 0
        self.received = 0
        self._is_paused = False
        self._waiting_since = 0.0

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._is_busy:
            # Nobody asked: an answer to come must not be able to arrive early.
            self._transport.abort()
            return
        self.is_untouched = False
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(UpstreamError("The provider's answer is not valid HTTP.", code="upstream_garbage"))
            return
        if self._framing_bytes > (MAX_FRAMING_BYTES if self.status else MAX_HEAD_BYTES) and not self.is_complete:
            self._fail(UpstreamError("The provider's answer has too much framing.", code="upstream_garbage"))
            return
        if self.status:
            self._wake()
            if self._size > HIGH_WATER_BYTES and not self._is_paused and not self.is_complete:
                self._is_paused = True
                self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._is_busy and not self.is_complete and self.error is None:
            if self._ends_at_close and exc is None:
                self.is_complete = True
            elif self.is_untouched:
                self.error = Disconnected("The provider closed the connection without an answer.")
            else:
                self.error = UpstreamError("The provider cut its answer off.", code="upstream_cut")
        # The parser holds its connection: a circle that would keep an answer of many megabytes.
        del self._parser
        self._wake()
        self._owner.forget(self)

    # The parser's side.

    def on_message_begin(self) -> None:
        if self.is_complete:
            # Bytes after the answer belong to nobody: this connection is not used again.
            self._keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.is_complete:
            return
        status = self._parser.get_status_code()
        if status < 200:  # the real answer follows
            self.headers = []
            return
        self.status = status
        self._keeps_alive = self._parser.should_keep_alive()
        # What has arrived bounds the headers from above; they are counted one by one where that is not enough.
        if self._framing_bytes > MAX_HEAD_BYTES and (
            sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES
        ):
            self.status = 0
            self._fail(UpstreamError("The provider's answer has too many headers.", code="upstream_garbage"))
            return
        names = dict(self.headers)
        self._ends_at_close = (
            b"content-length" not in names and b"transfer-encoding" not in names and status not in _NO_BODY_STATUS
        )
        self._framing_bytes = 0

    def on_body(self, body: bytes) -> None:
        if not self.is_complete:
            self._parts.append(body)
            self._size += len(body)
            self.received += len(body)
            self._framing_bytes = 0

    def on_message_complete(self) -> None:
        if self.status:
            self.is_complete = True

    # The caller's side.

    async def send(self, head: bytes, body: bytes, deadline: float, first_byte_seconds: float) -> None:
        """Returns once the status and the headers are there. Raises the connection's error."""
        if self.used:
            self._begin()
        self.used += 1
        self._is_busy = True
        self.deadline = deadline
        self.silence_seconds = first_byte_seconds
        self._least_bytes = 0
        if len(body) < 65_536:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        await self.answered()

    async def answered(self) -> None:
        """The wait of `send`; it can be taken up again after it was cancelled, or ran out."""
        while not self.status:
            if self.error is not None:
                raise self.error
            if self.is_closed:
                raise Disconnected("The provider closed the connection without an answer.")
            await self._more()

    async def next_part(self) -> bytes:
        """What has arrived since the last call, at least a byte; empty at the end of the answer."""
        while True:
            if self._parts:
                parts, self._parts, self._size = self._parts, [], 0
                return parts[0] if len(parts) == 1 else b"".join(parts)
            if self.is_complete:
                return b""
            if self.error is not None:
                raise self.error
            if self._is_paused:
                self._is_paused = False
                self._transport.resume_reading()
            await self._more()

    def bound(self, deadline: float, least_bytes_per_second: int) -> None:
        self.deadline = deadline
        self._least_bytes = least_bytes_per_second
        self._judge_from(self._clock())

    def look(self, now: float) -> None:
        """End the wait that is past its deadline, give up what is too slow to be worth it. Called by the pool's sweep."""
        waiter = self._waiter
        if waiter is None:
            # Whoever reads is busy: nobody can tell how fast the vendor would be.
            self._judge_from(now)
            return
        if now > self.deadline:
            if not waiter.done():
                waiter.set_exception(UpstreamTimeout("The call's deadline passed before the provider had answered."))
        elif now - self._waiting_since > self.silence_seconds:
            text = "has sent nothing for too long" if self.status else "did not begin to answer in time"
            self._fail(UpstreamTimeout(f"The provider {text}."))
        elif self._least_bytes and now - self._judged_since >= PACE_SECONDS:
            if self.received - self._judged_from < self._least_bytes * PACE_SECONDS:
                self._fail(too_slow())
            self._judge_from(now)

    def _judge_from(self, now: float) -> None:
        self._judged_since = now
        self._judged_from = self.received

    def release(self) -> bool:
        """End the use of this connection; False when it had to be closed because its answer was not over."""
        self._is_busy = False
        if (
            self.is_complete
            and self._keeps_alive
            and not self.is_closed
            and not self._transport.is_closing()
            and not self._transport.get_write_buffer_size()
        ):
            self._parts = []
            if self._is_paused:
                self._transport.resume_reading()
            self.idle_since = self._clock()
            return True
        self.abort()
        return False

    def abort(self) -> None:
        self._transport.abort()

    async def _more(self) -> None:
        self._waiting_since = self._clock()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        if self.error is None:
            self.error = error
        self._transport.abort()
        self._wake()
