"""One line per finished call on standard output, written by a thread so that a slow reader never stops the gateway.

Lines are gathered and leave a few times a second. When the reader is so slow that `MAX_PENDING` wait, further ones are
dropped and counted: the ledger, not the log, is the record.
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
        self._as_json = as_json
        self._pending: queue.SimpleQueue[Mapping[str, object]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def __call__(self, record: Mapping[str, object]) -> None:
        if self._pending.qsize() >= MAX_PENDING:
            self.dropped += 1
            return
        # The time is taken here, the rest is left to the thread.
        self._pending.put({"time": self._clock.unix(), **record})

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        write: Callable[[Mapping[str, object]], str] = _as_json if self._as_json else _as_text
        while not self._stop.wait(_FLUSH_SECONDS):
            self._flush(write)
        self._flush(write)

    def _flush(self, write: Callable[[Mapping[str, object]], str]) -> None:
        lines = []
        while not self._pending.empty():
            lines.append(write(self._pending.get()))
        if lines:
            try:
                self._stream.write("".join(lines))
                self._stream.flush()
            except (OSError, ValueError):
                # The reader closed its end: nobody is left to tell.
                self.dropped += len(lines)


def _as_json(record: Mapping[str, object]) -> str:
    """With the fields that every other line of the log has: whoever collects them expects one shape."""
    time = datetime.fromtimestamp(float(str(record["time"])), UTC).isoformat(timespec="microseconds")
    record = {**record, "time": time.replace("+00:00", "Z"), "level": "info"}
    return orjson.dumps({name: value for name, value in record.items() if value is not None}).decode() + "\n"


def _as_text(record: Mapping[str, object]) -> str:
    model = record.get("model") or "-"
    error = f" {record['error']}" if record.get("error") else ""
    return (
        f"{record.get('status')} {record.get('operation')} {model} {record.get('latency_ms')} ms"
        f" (own {record.get('overhead_ms')}) {record.get('request_id')}{error}\n"
    )
