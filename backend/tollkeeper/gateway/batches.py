"""A vendor's byte stream as batches of chunks: the loop that every format of a stream has in common."""

from collections.abc import AsyncIterator

from tollkeeper.contracts.chat import Batch, Chunk
from tollkeeper.core.errors import UpstreamError


class Batches:
    """One batch per read that completes an event. A format says what bytes mean (`_feed`) and what their end does (`_close`).

    No generator: the event loop keeps a list of those, and ends each one that is not read to its end in a task.
    """

    __slots__ = ("_error", "_is_over", "_reads")

    def __init__(self, reads: AsyncIterator[bytes]) -> None:
        self._reads = reads
        self._is_over = False
        # What came of the rest of a read whose beginning has been handed over.
        self._error: UpstreamError | None = None

    def _feed(self, data: bytes, batch: list[Chunk]) -> None:
        """Append what these bytes complete; set `_is_over` at the mark of the end. Raises `UpstreamError`."""
        raise NotImplementedError

    def _close(self, batch: list[Chunk]) -> None:
        """The body ended without such a mark: append what is left. Raises `UpstreamError` where that is a cut."""
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        while not self._is_over:
            batch: list[Chunk] = []
            try:
                # What it raises is not the end of the format: a wait that ran out may be taken up again.
                data = await self._reads.__anext__()
            except StopAsyncIteration:
                self._is_over = True
                self._end(batch)
            else:
                try:
                    self._feed(data, batch)
                except UpstreamError as error:
                    self._keep(error, batch)
            if batch:
                return batch
        raise StopAsyncIteration

    def _end(self, batch: list[Chunk]) -> None:
        try:
            self._close(batch)
        except UpstreamError as error:
            self._keep(error, batch)

    def _keep(self, error: UpstreamError, batch: list[Chunk]) -> None:
        """Told after what came before it has been handed over."""
        self._is_over = True
        if not batch:
            raise error
        self._error = error
