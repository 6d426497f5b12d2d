"""One line per finished call on standard output, written by a thread so that a slow reader never stops the gateway.

Lines are gathered and leave a few times a second. When the reader is so slow that `MAX_PENDING` wait, further ones are
dropped and counted: the ledger, not the log, is the record. Lines are made a few at a time: one by one between other work
each takes several times as long, and hundreds at once would hold the interpreter, and with it every call, for milliseconds.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

import orjson

from tollkeeper.core.clock import Clock

MAX_PENDING: Final = 50_000
_FLUSH_SECONDS: Final = 0.25
_AT_ONCE: Final = 32


class AccessLogWriter:
    """Call it with a record; `close` writes what is left. `as_json` False prints a short line for people."""

    def __init__(self, stream: TextIO, clock: Clock, *, as_json: bool) -> None:
        self._stream = stream
        self._clock = clock
        self._write: Callable[[Mapping[str, object], float], str] = JsonLines() if as_json else _as_text
        # Records with their times, and lines made of them. Both ends of a deque are safe to use from two threads.
        self._gathered: deque[tuple[Mapping[str, object], float]] = deque()
        self._lines: deque[str] = deque()
        self._stop = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def __call__(self, record: Mapping[str, object]) -> None:
        if len(self._lines) >= MAX_PENDING:
            self.dropped += 1
            return
        gathered = self._gathered
        gathered.append((record, self._clock.unix()))
        if len(gathered) >= _AT_ONCE:
            self._make_lines()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(_FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _make_lines(self) -> None:
        """Whatever has gathered becomes lines. Both threads come here, each record to one of them."""
        try:
            while True:
                record, unix = self._gathered.popleft()
                self._lines.append(self._write(record, unix))
        except IndexError:
            return

    def _flush(self) -> None:
        self._make_lines()
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if lines:
            try:
                self._stream.write("".join(lines))
                self._stream.flush()
            except (OSError, ValueError):
                # The reader closed its end: nobody is left to tell.
                self.dropped += len(lines)


class JsonLines:
    """Lines with the fields that every other line of the log has: whoever collects them expects one shape."""

    def __init__(self) -> None:
        # The latest second and how it is shown; one tuple, because two threads make lines.
        self._shown = (-1, "")

    def __call__(self, record: Mapping[str, object], unix: float) -> str:
        second = int(unix)
        known, shown = self._shown
        if second != known:
            shown = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._shown = (second, shown)
        time = f"{shown}.{int((unix - second) * 1_000_000):06d}Z"
        line = {**record, "time": time, "level": "info"}
        if None in line.values():
            line = {name: value for name, value in line.items() if value is not None}
        return orjson.dumps(line).decode() + "\n"


def _as_text(record: Mapping[str, object], _unix: float) -> str:
    model = record.get("model") or "-"
    error = f" {record['error']}" if record.get("error") else ""
    return (
        f"{record.get('status')} {record.get('operation')} {model} {record.get('latency_ms')} ms"
        f" (own {record.get('overhead_ms')}) {record.get('request_id')}{error}\n"
    )
