"""Run keys: `tk-run_…`, what a key is exchanged for when a program works on its behalf for a while.

A run key has no row: everything it stands for is in it, under an HMAC of ours, and holds only together with its parent
as that is now. Nothing of it is looked at before the HMAC is proven; what is inside has a fixed layout, so nothing is
parsed that could be read in two ways.
"""

import base64
import hmac
import re
import struct
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tollkeeper.core.crypto import MasterKey

PREFIX: Final = "tk-run_"
PREFIX_BYTES: Final = PREFIX.encode()
LONGEST_TOKEN: Final = 512
LONGEST_SECONDS: Final = 86_400
# What may lie between the clocks of two hosts.
LEEWAY_SECONDS: Final = 60

_FORMAT: Final = 1
_PURPOSE: Final = "run"
_MAC_BYTES: Final = 32
_ID_BYTES: Final = 4
# format, signing key, flags, tenant, key, run, issued (milliseconds since 1970), lifetime (seconds), budget (nano-dollars);
# names of models follow, one a line, and the HMAC over all of it.
_HEAD: Final = struct.Struct(f">B{_ID_BYTES}sB16s16s16sQIQ")
_HAS_BUDGET: Final = 1
_HAS_MODELS: Final = 2
_IS_NAMED: Final = 4
_BODY: Final = re.compile(rb"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Run:
    """What a run key stands for. No budget or models: those of its parent alone."""

    tenant_id: UUID
    key_id: UUID
    run_id: UUID
    issued_unix_ms: int
    lifetime_seconds: int
    budget_nano: int | None = None
    models: frozenset[str] | None = None
    # The caller chose the id, so there may have been calls under it before.
    is_named: bool = False

    @property
    def issued_at(self) -> float:
        """Seconds since 1970."""
        return self.issued_unix_ms / 1000

    @property
    def expires_at(self) -> float:
        return self.issued_at + self.lifetime_seconds


class RunKeyTooLong(ValueError):
    """The names of the models do not fit into a header that every client and proxy carries."""


class RunKeys:
    """Signs under the current master key, verifies under that and under older ones still in use."""

    def __init__(self, master: MasterKey, *older: MasterKey) -> None:
        self._id = _name(master)
        self._keys = {_name(key): key.derive(_PURPOSE) for key in (*older, master)}

    def sign(self, run: Run) -> str:
        """The run key's secret. Raises `RunKeyTooLong`."""
        assert 0 < run.lifetime_seconds <= LONGEST_SECONDS
        flags = (
            _HAS_BUDGET * (run.budget_nano is not None)
            | _HAS_MODELS * (run.models is not None)
            | _IS_NAMED * run.is_named
        )
        head = _HEAD.pack(
            _FORMAT,
            self._id,
            flags,
            run.tenant_id.bytes,
            run.key_id.bytes,
            run.run_id.bytes,
            run.issued_unix_ms,
            run.lifetime_seconds,
            run.budget_nano or 0,
        )
        payload = head + "\n".join(sorted(run.models or ())).encode("ascii")
        token = PREFIX + _encode(payload + self._mac(self._id, payload)).decode()
        if len(token) > LONGEST_TOKEN:
            raise RunKeyTooLong(f"{len(token)} characters")
        return token

    def verify(self, token: bytes) -> Run | None:
        """What a token stands for; None for everything we have not signed. Whether it has ended is the caller's to ask."""
        if len(token) > LONGEST_TOKEN or not token.startswith(PREFIX_BYTES):
            return None
        sealed = _decode(token[len(PREFIX_BYTES) :])
        if sealed is None or len(sealed) < _HEAD.size + _MAC_BYTES or sealed[0] != _FORMAT:
            return None
        payload, mac = sealed[:-_MAC_BYTES], sealed[-_MAC_BYTES:]
        key_id = payload[1 : 1 + _ID_BYTES]
        if key_id not in self._keys or not hmac.compare_digest(mac, self._mac(key_id, payload)):
            return None
        return _read(payload)

    def _mac(self, key_id: bytes, payload: bytes) -> bytes:
        return hmac.digest(self._keys[key_id], b"tk-run\0" + payload, "sha256")


def _read(payload: bytes) -> Run:
    """Of what we signed ourselves."""
    _, _, flags, tenant, key, run, issued_unix_ms, lifetime_seconds, budget_nano = _HEAD.unpack_from(payload)
    assert lifetime_seconds <= LONGEST_SECONDS
    names = payload[_HEAD.size :].decode("ascii")
    return Run(
        UUID(bytes=tenant),
        UUID(bytes=key),
        UUID(bytes=run),
        issued_unix_ms,
        lifetime_seconds,
        budget_nano if flags & _HAS_BUDGET else None,
        frozenset(names.split("\n")) if flags & _HAS_MODELS else None,
        bool(flags & _IS_NAMED),
    )


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes | None:
    """The one spelling that `_encode` gives; None for any other."""
    if _BODY.fullmatch(text) is None or len(text) % 4 == 1:
        return None
    data = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    return data if hmac.compare_digest(_encode(data), text) else None


def _name(master: MasterKey) -> bytes:
    return master.derive(f"name of {_PURPOSE}", _ID_BYTES)
