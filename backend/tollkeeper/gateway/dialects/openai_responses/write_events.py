"""The events of one stream: numbered from 0 without gaps, each named as its `type` says."""

from typing import Any

import orjson


class Events:
    """Collects events until they are taken. A silent one collects nothing: for answers that are wanted whole."""

    __slots__ = ("_is_silent", "_pieces", "number")

    def __init__(self, *, is_silent: bool = False) -> None:
        self.number = 0
        self._is_silent = is_silent
        self._pieces: list[bytes] = []

    def emit(self, kind: str, **fields: Any) -> None:
        if self._is_silent:
            return
        data = orjson.dumps({"type": kind, "sequence_number": self.number, **fields})
        self._pieces.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))
        self.number += 1

    def emit_delta(self, head: bytes, text: str, tail: bytes) -> None:
        """The usual event: only its text and its number are new. `head` as `delta_head` makes it."""
        if self._is_silent:
            return
        self._pieces.append(b'%b%b%b"sequence_number":%d}\n\n' % (head, orjson.dumps(text), tail, self.number))
        self.number += 1

    def relay(self, frames: bytes) -> None:
        self._pieces.append(frames)

    def take(self) -> bytes:
        if not self._pieces:
            return b""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def delta_head(kind: str, **fields: Any) -> bytes:
    """The beginning of a delta's event, up to its text."""
    return b'event: %b\ndata: %b,"delta":' % (kind.encode(), orjson.dumps({"type": kind, **fields})[:-1])
