"""A process that writes a journal until it is killed: for each line on stdin it forks one and prints its pid.

The writer reports every line that its journal has accepted on the pipe (17 bytes: kind, request id), ships in between
to a file that stands for the ledger, and keeps several attempts open all the time.
"""

import os
import random
import resource
import sys
from collections import deque
from pathlib import Path

import structlog

from tests.money.records import make_intent, make_settlement
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.gateway.money.journal import Journal

OPEN_ATTEMPTS = 20


def write(directory: Path, *, file_limit: int | None) -> None:
    journal = Journal(directory, host="host", clock=SystemClock(), max_bytes=16 << 20, segment_bytes=64 * 1024)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    ledger = os.open(directory / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    chance = random.Random()
    open_attempts: deque = deque()
    calls = 0
    while True:
        intent = make_intent()
        try:
            journal.intent(intent)
        except DependencyUnavailable:
            report(b"r", intent.request_id.bytes)
            while open_attempts:
                settle(journal, open_attempts.popleft())
            pending = [entry for segment in journal.list_segments() for entry in segment.pending]
            report(b"e", len(pending).to_bytes(16, "big"))
            return
        report(b"i", intent.request_id.bytes)
        open_attempts.append(intent)
        if len(open_attempts) == OPEN_ATTEMPTS:
            open_attempts.rotate(chance.randrange(OPEN_ATTEMPTS))
            settle(journal, open_attempts.popleft())
        calls += 1
        if file_limit is None and calls % 37 == 0:
            ship(journal, ledger)


def settle(journal: Journal, intent) -> None:
    journal.settle(make_settlement(intent))
    report(b"s", intent.request_id.bytes)


def ship(journal: Journal, ledger: int) -> None:
    for segment in journal.list_segments():
        batch = list(segment.pending)
        os.write(ledger, b"".join(b"s" + entry.intent.request_id.bytes for entry in batch))
        journal.acknowledge(segment, len(batch))
        journal.remove_shipped()


def report(kind: bytes, content: bytes) -> None:
    os.write(int(sys.argv[2]), kind + content)


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    directory = Path(sys.argv[1])
    for line in sys.stdin:
        limit = int(line) or None
        pid = os.fork()
        if pid == 0:
            write(directory, file_limit=limit)
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("gone", flush=True)


main()
