"""The events of an OpenAI stream as batches of chunks, and what counts as its end. Chat and completions differ in the
chunks only.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, Protocol

from tollkeeper.contracts.chat import Batch, Chunk
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway import sse
from tollkeeper.gateway.batches import Batches

# Bounds what is looked at again when a run turns out to be none.
_MOST_TOGETHER: Final = 64


class Chunks(Protocol):
    """One stream's state."""

    @property
    def has_begun(self) -> bool: ...

    @property
    def is_finished(self) -> bool:
        """Whether every choice that began has said why it ended."""
        ...

    def read_run(self, events: Sequence[bytes]) -> tuple[Chunk, int] | None:
        """One chunk for as many events from the first on as can be read together, and their number; None: use `read`."""
        ...

    def read(self, raw: bytes) -> Chunk | None:
        """None for an event that means nothing to a client. Raises `UpstreamError` for errors and garbage."""
        ...

    def end(self) -> list[Chunk]: ...


def read_events(
    reads: AsyncIterator[bytes], chunks: Chunks, from_whole: Callable[[bytes], Chunk]
) -> AsyncIterator[Batch]:
    """One batch per read that completes an event. `from_whole` reads the document of a vendor that did not stream."""
    return _Batches(reads, chunks, from_whole)


class _Batches(Batches):
    __slots__ = ("_chunks", "_events", "_from_whole")

    def __init__(self, reads: AsyncIterator[bytes], chunks: Chunks, from_whole: Callable[[bytes], Chunk]) -> None:
        super().__init__(reads)
        self._chunks = chunks
        self._from_whole = from_whole
        self._events = sse.EventReader()

    def _feed(self, data: bytes, batch: list[Chunk]) -> None:
        self._is_over = _read(self._events.feed(data), self._chunks, batch)

    def _close(self, batch: list[Chunk]) -> None:
        batch += _last(self._events.close(), self._chunks, self._from_whole)


def _read(events: list[bytes], chunks: Chunks, batch: list[Chunk]) -> bool:
    """Append what the events say to `batch`; True at the mark of the end."""
    at, end = 0, len(events)
    while at < end:
        run = chunks.read_run(events[at : at + _MOST_TOGETHER])
        if run is not None:
            batch.append(run[0])
            at += run[1]
            continue
        event = events[at]
        at += 1
        if event == sse.DONE:
            if not chunks.has_begun:
                raise UpstreamError("The provider's answer is empty.", code="upstream_cut")
            batch += chunks.end()
            return True
        chunk = chunks.read(event)
        if chunk is not None:
            batch.append(chunk)
    return False


def _last(rest: bytes, chunks: Chunks, from_whole: Callable[[bytes], Chunk]) -> Batch:
    """The end of a body without [DONE]: good when every choice is finished, or when it was a whole answer."""
    if not chunks.has_begun and rest.lstrip().startswith((b"{", b"[")):
        # A vendor that ignores `stream`, or refuses under status 200.
        return [from_whole(rest), *chunks.end()]
    event = sse.last_event(rest)
    chunk = None if event is None else chunks.read(event)
    if not chunks.is_finished:
        raise UpstreamError("The provider cut its answer off.", code="upstream_cut")
    return [*([chunk] if chunk is not None else []), *chunks.end()]
