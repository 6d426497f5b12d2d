"""One file of the journal: allocated ahead, so that a full disk is met before a call starts and not at its settlement."""

import fcntl
import os
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tollkeeper.contracts.usage import Settlement

CLOSED: Final = -1

# Request id (as an integer, which hashes faster than a UUID) and attempt.
AttemptKey = tuple[int, int]


@dataclass(slots=True)
class Segment:
    """`pending` holds what was settled here and waits to be shipped; from `unread_from` on it is in the file only."""

    number: int
    path: Path
    capacity: int
    fd: int
    used: int = 0
    pending: deque[Settlement] = field(default_factory=deque)
    unread_from: int | None = None
    # The payloads of intents in this file that have not ended: carried over before the file goes.
    open: dict[AttemptKey, bytes] = field(default_factory=dict)

    @property
    def is_shipped(self) -> bool:
        return not self.pending and self.unread_from is None

    @property
    def is_closed(self) -> bool:
        return self.fd == CLOSED

    def write(self, line: bytes) -> None:
        """Raises OSError and leaves the place to be written again when not all of the line went down."""
        if os.pwrite(self.fd, line, self.used) != len(line):
            raise OSError("the journal took only a part of a line")
        self.used += len(line)

    def trim(self) -> None:
        """Give back what was allocated and not used."""
        os.ftruncate(self.fd, self.used)

    def close(self) -> None:
        if self.fd != CLOSED:
            os.close(self.fd)
            self.fd = CLOSED


def create_segment(path: Path, number: int, capacity: int) -> Segment:
    """Raises OSError when the disk cannot hold the whole of it. Locked as long as it is written."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.posix_fallocate(fd, 0, capacity)
    except OSError:
        os.close(fd)
        path.unlink()
        raise
    return Segment(number=number, path=path, capacity=capacity, fd=fd)


def lock_journal(path: Path) -> int:
    """Take the lock of a journal of our own, and make sure it is the file that others will find."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if is_same_file(fd, path):
            return fd
        # A replayer took it for a dead one's in between, found nothing and removed it.
        os.close(fd)


def is_same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
