"""What the open connections of one process share: their number, the clock, the date header and one sweep over deadlines.

A timer per request costs a microsecond or two on the hot path; a sweep costs nothing per request and about a
millisecond per look at 10,000 connections.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from tollkeeper.core.clock import Clock, SystemClock
from tollkeeper.web.http_limits import HttpLimits, render_headers


class Connection(Protocol):
    deadline: float

    def expire(self, now: float) -> None: ...


class Connections:
    def __init__(self, limits: HttpLimits, clock: Clock | None = None) -> None:
        self.limits = limits
        self.now: Callable[[], float] = (clock or SystemClock()).monotonic
        self.draining = False
        """While true every answer is the last of its connection."""
        self.refusals: Counter[str] = Counter()
        """Answers given without the application, by code; for the metrics."""
        self._open: set[Connection] = set()
        self._per_address: Counter[str] = Counter()
        self._sweeping = False
        self._default_headers: list[tuple[bytes, bytes]] | None = None
        self._default_head = b""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        return len(self._open) > self.limits.connections

    def default_head(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """The server's default headers (the date), rendered once per change."""
        if default_headers is not self._default_headers:
            self._default_headers = default_headers
            self._default_head = b"".join(render_headers(default_headers))
        return self._default_head

    def opened(self, connection: Connection, address: str | None, loop: asyncio.AbstractEventLoop) -> bool:
        """Count a connection in; False when its address has too many."""
        self._open.add(connection)
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(self.limits.sweep_seconds, self._sweep, loop)
        if self.limits.connections_per_address is None or address is None:
            return True
        self._per_address[address] += 1
        return self._per_address[address] <= self.limits.connections_per_address

    def closed(self, connection: Connection, address: str | None) -> None:
        self._open.discard(connection)
        if self.limits.connections_per_address is not None and address is not None:
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeping = bool(self._open)
        if self._sweeping:
            loop.call_later(self.limits.sweep_seconds, self._sweep, loop)
        now = self.now()
        for connection in [connection for connection in self._open if connection.deadline <= now]:
            connection.expire(now)
