"""An answer as it is kept: its chunks as the caller saw them, and what they were worth.

Written as `tkc1`, a MAC, a head in JSON and the chunks' bytes. The MAC is made with a key of the gateway's own and covers
the fingerprint, so that a value under another key, of another tenant, or by another hand, is no entry. Reading one that
is damaged raises `Poisoned` with the reason.
"""

import hmac
import zlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Final
from uuid import UUID

import orjson

from tollkeeper.contracts.chat import Amounts, Chunk, Usage

_MAGIC: Final = b"tkc1"
_MAC_BYTES: Final = 32
_LENGTH_BYTES: Final = 4
_COMPRESSED_FROM: Final = 4_096
# Beyond this it would keep other calls waiting.
_COMPRESSED_TO: Final = 262_144
# What the objects of a document take beside its bytes, and those of a chunk.
_OVERHEAD: Final = 4
_FIXED_BYTES: Final = 512


class Poisoned(Exception):
    """Not an entry of ours, or not this one. The message is the reason, for a metric."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`guard` names the rules its texts have passed; empty: none. `saved_nano`: what the tenant was charged for it."""

    tenant_id: UUID
    fingerprint: bytes
    chunks: tuple[Chunk, ...]
    is_stream: bool
    created_at: float
    model: str
    provider: str
    upstream_model: str
    usage: Usage | None = None
    saved_nano: int = 0
    # How long the caller waited for it.
    seconds: float = 0.0
    guard: bytes = b""
    namespace: str = ""
    key_id: UUID | None = None
    # What it takes up in memory, roughly.
    size: int = field(default=0, compare=False)

    @property
    def id(self) -> str:
        return self.fingerprint.hex()


class Seal:
    """Writes entries and reads them."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, entry: Entry) -> tuple[bytes, int]:
        """The value, and about how much of the memory its entry takes. Raises `TypeError` for what JSON has no words for."""
        parts: list[bytes] = []
        told: list[Any] = []
        for chunk in entry.chunks:
            raw = chunk.raw
            # Of a stream it may be several events in a row, and no document.
            is_raw = raw is not None and not entry.is_stream
            data = raw if raw is not None and is_raw else orjson.dumps(chunk.data)
            beside = None if is_raw else raw
            lengths = [len(data)]
            parts.append(data)
            for more in (beside, chunk.native):
                lengths.append(-1 if more is None else len(more))
                if more is not None:
                    parts.append(more)
            told.append(
                (
                    lengths,
                    is_raw,
                    chunk.is_content,
                    chunk.is_hidden,
                    chunk.is_final,
                    chunk.text_length,
                    None if chunk.usage is None else astuple(chunk.usage),
                    None if chunk.amounts is None else astuple(chunk.amounts),
                    chunk.content_type,
                )
            )
        body = b"".join(parts)
        is_packed = _COMPRESSED_FROM < len(body) <= _COMPRESSED_TO
        head = orjson.dumps(
            {
                "tenant": entry.tenant_id.hex,
                "id": entry.id,
                "created": entry.created_at,
                "stream": entry.is_stream,
                "model": entry.model,
                "provider": entry.provider,
                "upstream": entry.upstream_model,
                "usage": None if entry.usage is None else astuple(entry.usage),
                "saved": str(entry.saved_nano),
                "seconds": entry.seconds,
                "guard": entry.guard.hex(),
                "namespace": entry.namespace,
                "key": None if entry.key_id is None else entry.key_id.hex,
                "chunks": told,
                "length": len(body),
                "packed": is_packed,
            }
        )
        payload = len(head).to_bytes(_LENGTH_BYTES, "big") + head + (zlib.compress(body, 1) if is_packed else body)
        return _MAGIC + self._mac(entry.fingerprint, payload) + payload, _size(len(body), len(told))

    def read(self, value: Any, tenant_id: UUID, fingerprint: bytes) -> Entry:
        """Raises `Poisoned`."""
        if not isinstance(value, bytes):
            raise Poisoned("type")
        start = len(_MAGIC) + _MAC_BYTES
        if len(value) < start + _LENGTH_BYTES or not value.startswith(_MAGIC):
            raise Poisoned("form")
        payload = value[start:]
        if not hmac.compare_digest(value[len(_MAGIC) : start], self._mac(fingerprint, payload)):
            raise Poisoned("mac")
        length = int.from_bytes(payload[:_LENGTH_BYTES], "big")
        head = orjson.loads(payload[_LENGTH_BYTES : _LENGTH_BYTES + length])
        # The MAC has said so already; whoever drops a part of it finds the tenant here.
        if head["tenant"] != tenant_id.hex:
            raise Poisoned("tenant")
        if head["id"] != fingerprint.hex():
            raise Poisoned("fingerprint")
        body = payload[_LENGTH_BYTES + length :]
        if head["packed"]:
            body = zlib.decompress(body, bufsize=head["length"])
        return Entry(
            tenant_id=tenant_id,
            fingerprint=fingerprint,
            chunks=_read_chunks(body, head["chunks"]),
            is_stream=head["stream"],
            created_at=head["created"],
            model=head["model"],
            provider=head["provider"],
            upstream_model=head["upstream"],
            usage=None if head["usage"] is None else Usage(*head["usage"]),
            saved_nano=int(head["saved"]),
            seconds=head["seconds"],
            guard=bytes.fromhex(head["guard"]),
            namespace=head["namespace"],
            key_id=None if head["key"] is None else UUID(head["key"]),
            size=_size(len(body), len(head["chunks"])),
        )

    def _mac(self, fingerprint: bytes, payload: bytes) -> bytes:
        mac = hmac.new(self._key, fingerprint, "sha256")
        mac.update(payload)
        return mac.digest()


def _size(length: int, chunks: int) -> int:
    return _FIXED_BYTES * (1 + chunks) + length * _OVERHEAD


def _read_chunks(body: bytes, told: Sequence[Any]) -> tuple[Chunk, ...]:
    chunks, at = [], 0
    for lengths, is_raw, is_content, is_hidden, is_final, text_length, usage, amounts, kind in told:
        pieces: list[bytes | None] = []
        for length in lengths:
            pieces.append(None if length < 0 else body[at : at + length])
            at += max(0, length)
        data, raw, native = pieces
        assert data is not None
        chunks.append(
            Chunk(
                orjson.loads(data),
                data if is_raw else raw,
                is_content=is_content,
                is_hidden=is_hidden,
                is_final=is_final,
                usage=None if usage is None else Usage(*usage),
                text_length=text_length,
                native=native,
                amounts=None if amounts is None else Amounts(*amounts),
                content_type=kind,
            )
        )
    return tuple(chunks)
