"""One line per finished call on standard output, written by a thread so that a slow reader never stops the gateway.

Lines are gathered and leave a few times a second. When the reader is so slow that `MAX_PENDING` wait, further ones are
dropped and counted: the ledger, not the log, is the record. The caller makes its line itself, a few microseconds each;
a thread that made hundreds of them at once would hold the interpreter, and with it every call, for milliseconds.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

import orjson

from tollkeeper.core.clock import Clock

MAX_PENDING: Final = 50_000
_FLUSH_SECONDS: Final = 0.25


class AccessLogWriter:
    """Call it with a record; `close` writes what is left. `as_json` False prints a short line for people."""

    def __init__(self, stream: TextIO, clock: Clock, *, as_json: bool) -> None:
        self._stream = stream
        self._clock = clock
        self._write: Callable[[Mapping[str, object], float], str] = JsonLines() if as_json else _as_text
        self._pending: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stop = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def __call__(self, record: Mapping[str, object]) -> None:
        if self._pending.qsize() >= MAX_PENDING:
            self.dropped += 1
            return
        self._pending.put(self._write(record, self._clock.unix()))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(_FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines = [self._pending.get() for _ in range(self._pending.qsize())]
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
        # The time up to its second, rendered once a second.
        self._second = -1
        self._shown = ""

    def __call__(self, record: Mapping[str, object], unix: float) -> str:
        second = int(unix)
        if second != self._second:
            self._second = second
            self._shown = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        time = f"{self._shown}.{int((unix - second) * 1_000_000):06d}Z"
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
