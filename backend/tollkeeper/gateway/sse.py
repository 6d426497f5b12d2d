"""Server-sent events as bytes: an incremental reader for what vendors send, and the two frames we write.

Only `data:` lines and the event name count; comments, ids and retry hints of a vendor end here. The reader takes bytes
split anywhere, any line ending, `data:` with or without a space.
"""

from typing import Final

from tollkeeper.core.errors import UpstreamError

DONE: Final = b"[DONE]"
DONE_FRAME: Final = b"data: [DONE]\n\n"
MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"


class EventReader:
    """Collects bytes and gives back the data of every event they complete."""

    __slots__ = ("_is_first", "_parts", "_pending_cr", "_size")

    def __init__(self) -> None:
        # Pieces without a blank line in them; joined only when one comes, so that a large event costs one copy.
        self._parts: list[bytes] = []
        self._size = 0
        self._is_first = True
        self._pending_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that ends inside `data`, in order; events without data are left out."""
        if self._pending_cr or b"\r" in data:
            data = self._normalise(data)
        if not data:
            return []
        complete = self._complete(data)
        if complete is None:
            return []
        if complete.startswith(b"data: "):
            # Usually all events are one line `data: {…}`: then no line end is left but those between them.
            events = complete[6:].split(b"\n\ndata: ")
            if complete.count(b"\n") == 2 * len(events) - 2:
                return events
        events = []
        for block in complete.split(b"\n\n"):
            # The usual event is one line `data: {…}`.
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append(block[6:])
            elif (found := _data_of(block)) is not None:
                events.append(found)
        return events

    def _complete(self, data: bytes) -> bytes | None:
        """Everything up to the last blank line; the rest is kept."""
        parts = self._parts
        if parts:
            if b"\n\n" not in data and not (data[0] == 10 and parts[-1][-1] == 10):
                self._keep(data)
                return None
            parts.append(data)
            data = b"".join(parts)
            parts.clear()
            self._size = 0
        end = data.rfind(b"\n\n")
        if end < 0:
            self._keep(data)
            return None
        if end + 2 < len(data):
            self._keep(data[end + 2 :])
        complete = data[:end]
        if self._is_first:
            self._is_first = False
            complete = complete.removeprefix(_BOM)
        return complete

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_EVENT_BYTES:
            raise UpstreamError("The provider sent an event that is too large.")

    def close(self) -> bytes:
        """What was left without its blank line at the end; `last_event` reads it."""
        rest = b"".join(self._parts).removeprefix(_BOM)
        self._parts.clear()
        return rest

    def _normalise(self, data: bytes) -> bytes:
        """Turn CRLF and CR into LF; a CR at the end waits for the next read, which may start with its LF."""
        if self._pending_cr:
            data = b"\r" + data
        self._pending_cr = data.endswith(b"\r")
        if self._pending_cr:
            data = data[:-1]
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data_of(block: bytes) -> bytes | None:
    parts = [
        line[6:] if line.startswith(b"data: ") else line[5:] for line in block.split(b"\n") if line.startswith(b"data:")
    ]
    if not parts:
        return None
    data = b"\n".join(parts).strip()
    return data or None


def last_event(rest: bytes) -> bytes | None:
    """The data of an event that a vendor did not close; the mark of the end is none."""
    found = _data_of(rest)
    return None if found == DONE else found


def comment(text: str) -> bytes:
    """A frame every client skips; openai-python fails on any other kind of heartbeat."""
    return f": {text}\n\n".encode()
