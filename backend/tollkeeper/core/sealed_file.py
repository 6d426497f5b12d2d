"""A file of ours that only we can read and that nobody else can have written: sealed under the master key.

Written beside its place and moved there whole. A first line in the clear names the format that the writer knew, and the
seal vouches for it. What cannot be opened (changed, cut, of another master key, moved from another name) counts as absent,
with a warning; so does what another release wrote, which is no reason to worry.
"""

import base64
import dataclasses
import hashlib
import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from pydantic import BaseModel

from tollkeeper.core.crypto import EnvelopeError, SecretBox

log = structlog.get_logger(__name__)

_HEAD: Final = b"tollkeeper-sealed "


def write_sealed(path: Path, box: SecretBox, payload: bytes, *, kind: str, release: str) -> None:
    """`kind` says what the file is for: it opens as nothing else. `release` names its format. Raises OSError."""
    envelope = box.seal(payload, _bond(kind, release))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(_HEAD + release.encode() + b"\n" + envelope)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def read_sealed(path: Path, box: SecretBox, *, kind: str, release: str) -> bytes | None:
    """None when there is no such file, or none that may be believed or understood."""
    try:
        head, _, envelope = path.read_bytes().partition(b"\n")
        writer = head.removeprefix(_HEAD).decode(errors="replace")
        payload = box.open(envelope, _bond(kind, writer))
    except FileNotFoundError:
        return None
    except (EnvelopeError, OSError) as error:
        log.warning("sealed_file_ignored", file=path.name, kind=kind, reason=str(error))
        return None
    if writer != release:
        # The seal is good, so nobody has touched it: it is simply read anew, and written over.
        note_other_release(path.name)
        return None
    return payload


def note_other_release(name: str) -> None:
    """After an upgrade, or back: what was kept is not understood, and not missed."""
    log.info("sealed_file_ignored", file=name, reason="another release wrote it")


def shape_of(*classes: type[Any]) -> str:
    """Changes when a field comes or goes: part of the `release`, so that no release reads what another meant otherwise."""
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
        case BaseModel():
            return value.model_dump(mode="json")
        case frozenset():
            return sorted(value)
        case IPv4Network() | IPv6Network():
            return str(value)
    raise TypeError(f"{type(value).__name__} has no form on disk")


def _bond(kind: str, release: str) -> bytes:
    return f"file|{kind}|{release}".encode()
