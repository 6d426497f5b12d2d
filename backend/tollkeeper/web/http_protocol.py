"""HTTP/1.1 on one connection: uvicorn's httptools protocol with the deadlines, caps and strictness it lacks.

Give it to uvicorn as `http=functools.partial(HttpProtocol, connections)`. It feeds the parser, lets `http_head` judge
what comes out, starts an `HttpCycle` per request and ends the connection; `Connections` sweeps over the deadlines.

A client that is gone ends its request only where the application asked for it (`HttpCycle.on_disconnect`): the data
plane does, so that the upstream call stops; a control-plane request always runs to its end.
"""

import asyncio
import math
import socket
from collections import deque
from typing import Any, Final

import httptools
from uvicorn._types import HTTPScope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tollkeeper.web.http_connections import Connections
from tollkeeper.web.http_cycle import HttpCycle
from tollkeeper.web.http_head import judge_headers, judge_size, judge_start_line, split_target
from tollkeeper.web.http_limits import (
    BAD_FRAMING,
    BODY_TIMEOUT,
    HEADER_TIMEOUT,
    HEADERS_TOO_LARGE,
    INTERNAL_ERROR,
    TOO_MANY_CONNECTIONS,
    TOO_MUCH_PIPELINED,
    URI_TOO_LONG,
    Refusal,
    RefusedError,
)

CONNECTION_EXTENSION: Final = "tollkeeper.connection"

_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)  # Linux only.
_TCP_CLOSE: Final = 7  # tcp_states.h: the peer answered with a reset.


class HttpProtocol(HttpToolsProtocol):
    """A connection. `deadline` is never later than the first moment at which `expire` has something to do."""

    def __init__(
        self,
        shared: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._shared = shared
        self._limits = limits = shared.limits
        self._small_head_bytes = min(limits.target_bytes, limits.header_bytes, limits.head_bytes)
        self._raw_root_path = self.root_path.encode("ascii")
        self._now = shared.now
        self.deadline = math.inf
        # Requests: the one being answered, those waiting behind it, and the last one parsed.
        self._running: HttpCycle | None = None
        self._queued: deque[tuple[HttpCycle, HTTPScope]] = deque()
        self._newest: HttpCycle | None = None
        self._address: str | None = None
        self._only_health = False
        # The message being parsed. `_feed` is the size of the current read, `_fed` what certainly belongs to the message:
        # a read counts from its second message on only from the next read.
        self._in_message = False
        self._in_head = False
        self._is_chunked = False
        self._is_fresh = False
        self._feed = 0
        self._fed = 0
        self._head_by = math.inf
        self._idle_since = 0.0
        self._body_since = 0.0
        self._window_by = math.inf
        self._window_bytes = 0
        # The end of the connection.
        self._refusal: Refusal | None = None
        self._discarding = False
        self._discarded = 0
        self._linger_by = math.inf
        self._stall_by = math.inf
        self._stall_bytes = 0
        self._probe_handle: asyncio.TimerHandle | None = None
        self._half_closed = False

    @property
    def default_head(self) -> bytes:
        return self._shared.default_head(self.server_state.default_headers)

    @property
    def draining(self) -> bool:
        return self._shared.draining

    # ── The transport's callbacks ──

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # As uvicorn has it.
        super().connection_made(transport)
        limits = self._limits
        # Room for one more chunk of a stream between the mark and the bound.
        transport.set_write_buffer_limits(high=limits.write_buffer_bytes * 3 // 4, low=limits.write_buffer_bytes // 4)
        self._address = self.client[0] if self.client else None
        welcome = self._shared.opened(self, self._address, self.loop)
        self._head_by = self._now() + limits.header_seconds
        self._watch(self._head_by)
        surplus = len(self._shared) - limits.connections
        self._only_health = surplus > 0
        if surplus > 2 * limits.reserved_connections:
            transport.abort()  # A flood: not even worth the wait for a clean end.
        elif surplus > limits.reserved_connections or not welcome:
            self._refuse(TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # The transport's signature.
        self.connections.discard(self)
        self._shared.closed(self, self._address)
        if self._probe_handle is not None:
            self._probe_handle.cancel()
            self._probe_handle = None
        self.deadline = math.inf
        self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]  # Breaks the reference cycle, as uvicorn does.
        running, self._running = self._running, None
        self._newest = None
        self._queued.clear()
        if running is not None:
            running.drop()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the way out open for a client that only closed its sending half, if the client can be told from a dead one."""
        if self._discarding or self._running is None or self._in_message or _TCP_INFO is None:
            return None
        if self.scheme == "https" or not self.client:  # TLS and local sockets have no half-closed state to ask about.
            return None
        self._half_closed = True
        self._probe(first=True)
        return True

    def data_received(self, data: bytes) -> None:
        size = len(data)
        if self._discarding:
            self._discard(size)
            return
        if not self._in_message and data[0] == 0x0A:
            self._refuse(BAD_FRAMING)  # llhttp skips empty lines before a request, even those that end in a bare LF.
            return
        if size > self._limits.head_bytes and (self._in_head or not self._in_message):
            # Judge a head of any size in steps of the limit.
            for start in range(0, size, self._limits.head_bytes):
                self.data_received(data[start : start + self._limits.head_bytes])
            return
        self._feed = size
        self._fed += size
        self._is_fresh = not self._in_message
        body_before = self._window_bytes
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            cause = error.__context__
            if cause is not None and not isinstance(cause, (RefusedError, httptools.HttpParserError)):
                raise  # A fault of ours inside a callback: asyncio reports it and closes the connection.
            self._refuse(cause.refusal if isinstance(cause, RefusedError) else BAD_FRAMING)
            return
        if self._in_message:
            self._await_rest(grown=self._window_bytes != body_before)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_stall()

    # ── The parser's callbacks ──

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._in_message = self._in_head = True
        self._fed = self._feed if self._is_fresh else 0
        self._is_fresh = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        headers = self.headers
        method = parser.get_method()
        version = parser.get_http_version()
        http_1_0 = version == "1.0"
        judge_start_line(method, version, is_upgrade=parser.should_upgrade())
        if self._feed + self._fed > self._small_head_bytes or len(headers) > self._limits.header_count:
            judge_size(self._limits, self.url, headers)
        is_chunked, expects_continue = judge_headers(headers, http_1_0=http_1_0)
        path, raw_path, query = split_target(self.url)
        if self._only_health and self._shared.is_full and path not in self._limits.health_paths:
            raise RefusedError(TOO_MANY_CONNECTIONS)
        cycle = HttpCycle(
            self,
            is_head=method == b"HEAD",
            http_1_0=http_1_0,
            keep_alive=parser.should_keep_alive() and not http_1_0,
            expects_continue=expects_continue,
        )
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "method": method.decode("ascii"),
            "scheme": self.scheme,
            "path": self.root_path + path,
            "raw_path": self._raw_root_path + raw_path,
            "query_string": query,
            "root_path": self.root_path,
            "headers": headers,
            "server": self.server,
            "client": self.client,
            "state": self.app_state.copy(),
            "extensions": {CONNECTION_EXTENSION: cycle},
        }
        self._in_head = False
        self._head_by = self._window_by = math.inf
        self._window_bytes = self._fed = 0
        self._is_chunked = is_chunked
        if is_chunked:
            self.headers = []  # Trailers land here, not in the scope that the application already reads.
        self._newest = cycle
        if self._running is None:
            self._run(cycle, scope)  # type: ignore[arg-type]
            return
        # Pipelined. Reading stops until the queue is empty, so one read bounds it.
        self._queued.append((cycle, scope))  # type: ignore[arg-type]
        self.flow.pause_reading()
        if len(self._queued) > self._limits.pipelined_requests:
            raise RefusedError(TOO_MUCH_PIPELINED)

    def on_body(self, body: bytes) -> None:
        self._window_bytes += len(body)
        cycle = self._newest
        if cycle is not None and not (cycle.complete or cycle.disconnected):
            cycle.feed(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        if self._newest is not None:
            self._newest.end_of_body()

    # ── A request that is not yet whole: never on the hot path ──

    def _await_rest(self, *, grown: bool) -> None:
        limits = self._limits
        if self._in_head:
            if self._head_by == math.inf:
                self._head_by = self._now() + limits.header_seconds  # `deadline` is never later than this.
            if len(self.url) > limits.target_bytes:
                self._refuse(URI_TOO_LONG)
            elif self._fed > limits.head_bytes or len(self.headers) > limits.header_count:
                self._refuse(HEADERS_TOO_LARGE)
            return
        cycle = self._newest
        assert cycle is not None
        if self._window_by == math.inf:
            self._body_since = self._now()
            self._restart_window(self._body_since)
        if self._is_chunked:
            if grown:
                self._fed = 0
            elif self._fed > limits.head_bytes:
                self._refuse(BAD_FRAMING)  # Endless chunk extensions, zeros or trailers.
                return
        if cycle.buffered > (limits.body_buffer_bytes if cycle.wanted else limits.unread_body_bytes):
            self.flow.pause_reading()

    def _restart_window(self, now: float) -> None:
        self._window_by = now + self._limits.body_window_seconds
        self._window_bytes = 0
        self._watch(min(self._window_by, self._body_by()))

    def _body_by(self) -> float:
        wished = self._newest.body_seconds if self._newest is not None else None
        return self._body_since + (self._limits.body_seconds if wished is None else wished)

    def body_wanted(self) -> None:
        """The application reads on: so do we."""
        if self.flow.read_paused and not (self._discarding or self._queued):
            self.flow.resume_reading()
            if self._in_message and not self._in_head:
                self._restart_window(self._now())

    # ── Answers ──

    def _run(self, cycle: HttpCycle, scope: HTTPScope) -> None:
        self._running = cycle
        cycle.start(self.loop, self.app, scope, self.tasks)

    def response_done(self, cycle: HttpCycle) -> None:
        self.server_state.total_requests += 1
        self._running = None
        if cycle.more_body:
            self._linger()
        elif not cycle.keep_alive:
            self._close()
        elif self._queued:
            self._run(*self._queued.popleft())
            if not self._queued:
                self.flow.resume_reading()
        elif self._refusal is not None:
            self._refuse(self._refusal)
        elif self._half_closed:
            self._close()
        else:
            self._idle_since = self._now()
            if self._in_head:
                self._watch(self._head_by)
            if self.flow.read_paused:
                self.flow.resume_reading()

    def response_failed(self, cycle: HttpCycle) -> None:
        """The application ended without a whole answer."""
        if cycle.complete or cycle.disconnected or cycle is not self._running:
            return
        self._running = None
        self._queued.clear()
        cycle.disconnected = True
        if cycle.on_wire:
            self._close()
        else:
            self._refuse(INTERNAL_ERROR)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer instead of the application and end the connection; after the answer that is under way, if there is one."""
        broken = self._newest if self._in_message and not self._in_head else None
        running = self._running
        if running is not None and running is not broken:
            if broken is not None and self._queued:
                self._queued.pop()
            self._refusal = refusal
            self._discarding = True
            return
        self._shared.refusals[refusal.code] += 1
        self._running = None
        if broken is not None and broken.on_wire and not broken.complete:
            self._close()
        else:
            self.transport.write(refusal.render(self.default_head))
            self._linger()
        if running is not None:
            running.drop()

    # ── The end ──

    def shutdown(self) -> None:
        """Called by the server while it ends, as often as it likes: close where nothing is under way.

        Running answers say `connection: close` by themselves then (`Connections.draining`).
        """
        if self._running is None and not (self._in_message or self._discarding):
            self._close()

    def drain_expired(self) -> None:
        """Called by the server when it will wait no longer."""
        if self._running is not None:
            self._running.drain_expired()

    def _linger(self) -> None:
        """Say that nothing more will come, and read a little on: closing with unread data would reset the answer away."""
        if self.transport.is_closing():
            return
        self._discarding = True
        self._linger_by = self._now() + self._limits.linger_seconds
        self._watch(self._linger_by)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded <= self._limits.linger_bytes:
            return
        if self._running is None:
            self._close()
        else:
            self.flow.pause_reading()

    def _close(self) -> None:
        self._discarding = True
        self.transport.close()
        self._watch_stall()  # close() waits for the client to take what is buffered; not for ever.

    def _watch(self, deadline: float) -> None:
        self.deadline = min(self.deadline, deadline)

    def _watch_stall(self) -> None:
        self._stall_bytes = self.transport.get_write_buffer_size()
        self._stall_by = self._now() + self._limits.write_idle_seconds
        self._watch(self._stall_by)

    def expire(self, now: float) -> None:
        """Do what is due and find the next deadline. Called by the listener's sweep."""
        limits = self._limits
        # A request that starts later may set the first of these without looking at the clock; hence the bound.
        self.deadline = now + min(limits.header_seconds, limits.keep_alive_seconds)
        closing = self.transport.is_closing()
        if (closing or self.flow.write_paused) and self._is_stalled(now):
            self.transport.abort()
        elif closing:
            pass
        elif self._discarding:
            if self._running is None and now >= self._linger_by:
                self._close()
            self._watch(max(self._linger_by, now))
        elif self._in_message and not self._in_head:
            self._expire_body(now)
        elif self._running is None:
            self._expire_head(now)

    def _is_stalled(self, now: float) -> bool:
        """Whether the client took nothing since the last look, a whole `write_idle_seconds` ago."""
        if now < self._stall_by:
            self._watch(self._stall_by)
            return False
        before = self._stall_bytes
        self._watch_stall()
        return self._stall_bytes >= before

    def _expire_body(self, now: float) -> None:
        if self.flow.read_paused:
            self._restart_window(now)  # We are the slow ones.
            return
        needed = self._limits.body_bytes_per_second * self._limits.body_window_seconds
        if now >= self._body_by() or (now >= self._window_by and self._window_bytes < needed):
            self._refuse(BODY_TIMEOUT)
        elif now >= self._window_by:
            self._restart_window(now)
        else:
            self._watch(min(self._window_by, self._body_by()))

    def _expire_head(self, now: float) -> None:
        """Between requests. Before the first one the head's deadline runs from accept."""
        if self._in_head or self._newest is None:
            if now >= self._head_by:
                self._refuse(HEADER_TIMEOUT)
            self._watch(self._head_by)
        elif now >= self._idle_since + self._limits.keep_alive_seconds:
            self._close()
        else:
            self._watch(self._idle_since + self._limits.keep_alive_seconds)

    def _probe(self, *, first: bool = False) -> None:
        """Find out whether the client behind a half-closed connection is alive: a dead one answers bytes with a reset.

        A FIN looks the same from a client that closed its sending half and from one that is gone. After a harmless
        write (`HttpCycle.no_op`) the kernel knows.
        """
        self._probe_handle = None
        running = self._running
        if running is None or self.transport.is_closing():
            return
        if first and not self.flow.write_paused and running.can_probe:
            self.transport.write(running.no_op)
        raw_socket = self.transport.get_extra_info("socket")
        assert _TCP_INFO is not None
        if raw_socket.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0] == _TCP_CLOSE or (
            first and running.on_wire and not running.can_probe
        ):
            self.transport.abort()
            return
        self._probe_handle = self.loop.call_later(self._limits.probe_seconds, self._probe)
