"""Our own load generator: raw sockets on uvloop, request bytes built once, answers parsed just far enough to find their end.

Closed loop (a fixed number in flight) or open loop (a fixed rate with exponential gaps, where a call's latency counts from
the moment it was due, so a stalled server cannot hide its queue). Every call sent is waited for and counted.
"""

import asyncio
import collections
import ctypes
import os
import random
import time
from dataclasses import dataclass, field
from typing import cast

from bench.figures import Spread, spread_ms

_END_OF_CHUNKS = b"\r\n0\r\n\r\n"
_EVENT = b"data: "
_DRAIN_SECONDS = 30.0

# Not the loop's clock: uvloop reads that once per turn, in whole milliseconds.
_now = time.monotonic


@dataclass(frozen=True)
class Plan:
    host: str
    port: int
    request: bytes
    connections: int
    seconds: float
    warmup_seconds: float = 0.0
    per_second: float | None = None
    seed: int = 1


@dataclass(frozen=True)
class Measured:
    """What one run showed. `sent` counts the warm-up as well (so it can be compared with what the upstream served)."""

    generator: str
    sent: int
    completed: int
    failed: int
    seconds: float
    per_second: float
    statuses: dict[str, int] = field(default_factory=dict)
    latency_ms: Spread | None = None
    first_event_ms: Spread | None = None
    gap_ms: Spread | None = None
    events: int = 0
    events_fewest: int = 0
    events_most: int = 0


def build_request(host: str, port: int, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"host: {host}:{port}", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one call on it."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self.due: float | None = None
        self._reset()

    def _reset(self) -> None:
        self._head = b""
        self._missing = -1  # body bytes still to come; -1 while unknown or chunked
        self._in_body = False
        self._tail = b""
        self._status = b""
        self._closes = False
        self._events = 0
        self._first_event_at = 0.0
        self._last_event_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, due: float) -> None:
        self._reset()
        self.due = due
        self._run.sent += 1
        self._transport.write(self._run.plan.request)

    def close(self) -> None:
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._run.on_lost(self)

    def data_received(self, data: bytes) -> None:
        if self.due is None:
            return  # Bytes nobody asked for: an error page before a close.
        if not self._in_body:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self._head[:end].lower(), self._head[end + 4 :]
            self._in_body = True
            self._status = head[9:12]
            self._closes = b"\r\nconnection: close" in head
            length = head.find(b"\r\ncontent-length:")
            if length >= 0:
                self._missing = int(head[length + 17 :].split(b"\r\n", 1)[0])
        if self._missing >= 0:
            self._missing -= len(data)
            if self._missing <= 0:
                self._finish()
            return
        self._read_chunked(data)

    def _read_chunked(self, data: bytes) -> None:
        # Both patterns may be cut in two by a read; the tail of the last read joins this one.
        joined = self._tail + data
        events = joined.count(_EVENT, max(0, len(self._tail) - len(_EVENT) + 1))
        if events:
            now = _now()
            if self._events == 0:
                self._first_event_at = now
            elif self._run.is_measuring:
                self._run.gaps.append(now - self._last_event_at)
            self._last_event_at = now
            self._events += events
        self._tail = joined[-len(_END_OF_CHUNKS) + 1 :]
        if joined.endswith(_END_OF_CHUNKS) or joined == _END_OF_CHUNKS[2:]:
            self._finish()

    def _finish(self) -> None:
        assert self.due is not None
        due, self.due = self.due, None
        self._run.on_answer(due, self._status, self._events, self._first_event_at)
        if self._closes:
            self._transport.close()  # `on_lost` opens another in its place.
        else:
            self._run.take(self)


class Run:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = asyncio.get_running_loop()
        self.sent = 0
        self.gaps: list[float] = []
        self.is_measuring = False
        self._latencies: list[float] = []
        self._first_events: list[float] = []
        self._statuses: collections.Counter[bytes] = collections.Counter()
        self._completed_in_window = 0
        self.answered = 0
        self._failed = 0
        self.events = 0
        self.events_fewest = -1
        self.events_most = 0
        self._free: list[Connection] = []
        self._waiting: collections.deque[float] = collections.deque()
        self._open: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._measure_from = 0.0
        self._end = 0.0
        self._drained = asyncio.Event()
        self._is_stopping = False

    async def measure(self) -> Measured:
        plan = self.plan
        for _ in range(plan.connections):
            await self._connect()
        start = _now()
        self._measure_from = start + plan.warmup_seconds
        self._end = self._measure_from + plan.seconds
        self.loop.call_later(plan.warmup_seconds, self._start_measuring)
        if plan.per_second is None:
            waiting, self._free = self._free, []
            # Spread over the warm-up: a thousand paced streams must not tick as one.
            for position, connection in enumerate(waiting):
                self.loop.call_later(plan.warmup_seconds * position / len(waiting), self.take, connection)
            await asyncio.sleep(self._end - _now())
        else:
            await self._send_on_time(plan.per_second)
        self.is_measuring = False
        self._is_stopping = True
        self._check_drained()
        try:
            await asyncio.wait_for(self._drained.wait(), _DRAIN_SECONDS)
        except TimeoutError:
            self._failed += self.sent - self.answered - self._failed
        for connection in list(self._open):
            connection.close()
        return self._summary()

    def _start_measuring(self) -> None:
        self.is_measuring = True

    async def _connect(self) -> None:
        _, connection = await self.loop.create_connection(lambda: Connection(self), self.plan.host, self.plan.port)
        self._open.add(connection)
        self.take(connection)

    def take(self, connection: Connection) -> None:
        """Give a connection without work its next call, or keep it for later."""
        if self._waiting:
            connection.send(self._waiting.popleft())
        elif self.plan.per_second is None and self._end and _now() < self._end:
            connection.send(_now())
        else:
            self._free.append(connection)
            self._check_drained()

    async def _send_on_time(self, per_second: float) -> None:
        random_gaps = random.Random(self.plan.seed)
        timer = Timer(self.loop)
        due = _now()
        try:
            while due < self._end:
                await timer.wait_until(due)
                now = _now()
                while due <= now and due < self._end:
                    if self._free:
                        self._free.pop().send(due)
                    else:
                        self._waiting.append(due)
                    due += random_gaps.expovariate(per_second)
        finally:
            timer.close()

    def on_answer(self, due: float, status: bytes, events: int, first_event_at: float) -> None:
        now = _now()
        self.answered += 1
        self._statuses[status] += 1
        if not status.startswith(b"2"):
            self._failed += 1
            self.answered -= 1
        elif due >= self._measure_from:
            self._latencies.append(now - due)
            if events:
                self._first_events.append(first_event_at - due)
        if events:
            self.events += events
            self.events_fewest = events if self.events_fewest < 0 else min(events, self.events_fewest)
            self.events_most = max(events, self.events_most)
        if self._measure_from <= now <= self._end and status.startswith(b"2"):
            self._completed_in_window += 1

    def on_lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if connection.due is not None:
            connection.due = None
            self._failed += 1
        if not self._is_stopping and _now() < self._end:
            task = self.loop.create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._on_reconnected)
        self._check_drained()

    def _on_reconnected(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failed += 1  # A server that refuses connections shows up as failures, not as silence.

    def _check_drained(self) -> None:
        if self._is_stopping and not self._waiting and all(connection.due is None for connection in self._open):
            self._drained.set()

    def _summary(self) -> Measured:
        return Measured(
            generator="own",
            sent=self.sent,
            completed=self.answered,
            failed=self._failed,
            seconds=self.plan.seconds,
            per_second=self._completed_in_window / self.plan.seconds,
            statuses={status.decode("latin-1"): count for status, count in sorted(self._statuses.items())},
            latency_ms=spread_ms(self._latencies),
            first_event_ms=spread_ms(self._first_events),
            gap_ms=spread_ms(self.gaps),
            events=self.events,
            events_fewest=max(self.events_fewest, 0),
            events_most=self.events_most,
        )


class Timer:
    """Wakes at a given moment to within tens of microseconds; an event loop's own timers round to a millisecond."""

    _CLOCK_MONOTONIC = 1

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = -1
        self._waiter: asyncio.Future[None] | None = None
        if hasattr(self._libc, "timerfd_create"):
            self._descriptor = self._libc.timerfd_create(self._CLOCK_MONOTONIC, os.O_NONBLOCK)
        if self._descriptor >= 0:
            loop.add_reader(self._descriptor, self._ring)

    async def wait_until(self, due: float) -> None:
        wait_seconds = due - _now()
        if wait_seconds <= 0:
            await asyncio.sleep(0)
            return
        if self._descriptor < 0:
            await asyncio.sleep(wait_seconds)
            return
        seconds, rest = divmod(wait_seconds, 1)
        setting = (ctypes.c_long * 4)(0, 0, int(seconds), max(1, int(rest * 1e9)))
        self._waiter = self._loop.create_future()
        self._libc.timerfd_settime(self._descriptor, 0, setting, None)
        await self._waiter

    def _ring(self) -> None:
        os.read(self._descriptor, 8)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


async def measure(plan: Plan) -> Measured:
    return await Run(plan).measure()
