"""File locks that end with their holders, whatever ends them."""

import fcntl
import os
from pathlib import Path


class FileLock:
    """An exclusive `flock`. Whoever inherits the descriptor holds it too, until the last of them is gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take it without waiting; False when somebody else has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    @property
    def is_held(self) -> bool:
        return self._descriptor is not None

    @property
    def descriptor(self) -> int:
        assert self._descriptor is not None
        return self._descriptor

    def release(self) -> None:
        """Close our copy; a process that inherited it keeps the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """The process id written by the last one to take it; for messages only."""
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return None
