"""A file of ours that only we can read and that nobody else can have written: sealed under the master key.

Written beside its place and moved there whole. What cannot be opened (changed, cut, of another master key, moved from
another name) counts as absent, with one line in the log.
"""

import os
from pathlib import Path

import structlog

from tollkeeper.core.crypto import EnvelopeError, SecretBox

log = structlog.get_logger(__name__)


def write_sealed(path: Path, box: SecretBox, payload: bytes, *, kind: str) -> None:
    """`kind` says what the file is for, with the version of its format: it opens as nothing else. Raises OSError."""
    envelope = box.seal(payload, _bond(kind))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(envelope)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def read_sealed(path: Path, box: SecretBox, *, kind: str) -> bytes | None:
    """None when there is no such file, or none that may be believed."""
    try:
        return box.open(path.read_bytes(), _bond(kind))
    except FileNotFoundError:
        return None
    except (EnvelopeError, OSError) as error:
        log.warning("sealed_file_ignored", file=path.name, kind=kind, reason=str(error))
        return None


def _bond(kind: str) -> bytes:
    return f"file|{kind}".encode()
