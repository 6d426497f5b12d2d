"""A file of ours that only we can read and that nobody else can have written: sealed under the master key.

Written beside its place and moved there whole. What cannot be opened (changed, cut, of another master key, moved from
another name) counts as absent, with one line in the log.
"""

import base64
import dataclasses
import hashlib
import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import orjson
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


def shape_of(*classes: type[Any]) -> str:
    """Changes when a field comes or goes: part of the `kind`, so that no release reads what another meant otherwise."""
    names = [[kind.__name__, *(field.name for field in dataclasses.fields(kind))] for kind in classes]
    return hashlib.sha256(orjson.dumps(names)).hexdigest()[:12]


def to_json(value: object) -> bytes:
    """A frozen dataclass of ours with every field by its name, also one that nobody thought of here.

    pydantic's `TypeAdapter` of the same class reads it back; bytes are base64.
    """
    return orjson.dumps(value, default=_plain)


def _plain(value: object) -> object:
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case Mapping():
            return dict(value)
        case frozenset():
            return sorted(value)
        case IPv4Network() | IPv6Network():
            return str(value)
    raise TypeError(f"{type(value).__name__} has no form on disk")


def _bond(kind: str) -> bytes:
    return f"file|{kind}".encode()
