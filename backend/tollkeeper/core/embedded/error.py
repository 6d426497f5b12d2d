"""The one error of the embedded servers: a sentence for a person at a terminal, saying what to do next."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REFUSALS = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO),
        *(errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
        *(errno.ENOLCK, errno.ENOTSUP),
    }
)


class EmbeddedError(Exception):
    """An embedded server cannot be started, adopted or trusted."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@contextmanager
def writing_to(directory: Path) -> Iterator[None]:
    """Turn the file system's refusals below `directory` into the sentence a person can act on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        message = (
            f"The data directory {directory} cannot be used: {error.strerror} ({error.filename or directory}). "
            "Choose another one with --data-dir, or give this account the right to write there."
        )
        raise EmbeddedError(message) from error
