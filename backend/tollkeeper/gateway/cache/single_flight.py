"""Identical calls of one moment share one answer: the first one asks for it, in a task of its own, and all read along.

The task outlives whoever began it as long as anybody waits; when nobody does, it is cancelled, and with it the provider's
work. It reads ahead of the fastest reader by little, and whoever falls behind by too much is let go. A late comer joins
while all of the answer is still here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Any, Final

from tollkeeper.contracts.chat import Batch, Chunk, Reply
from tollkeeper.core.errors import TollkeeperError, UpstreamError

# Of an answer longer than this nobody new may have the beginning.
JOINED_BYTES: Final = 1_048_576
_AHEAD_BYTES: Final = 262_144
_BEHIND_BYTES: Final = 8 * 1_048_576


class Cancelled(Exception):
    """Whoever asked had to stop, and what came of it is nobody's answer."""


class Sharing:
    """One answer on its way, and those who wait for it. `outcome` is what the work came to: a `Reply`, or anything else."""

    def __init__(self, work: Awaitable[Any], ended: Callable[["Sharing"], None]) -> None:
        self._ended = ended
        self._waiters: list[asyncio.Future[None]] = []
        self._batches: list[Batch] = []
        self._sizes: list[int] = []
        self._first = 0
        self._size = 0
        self._readers: dict[int, int] = {}
        self._paused: asyncio.Future[None] | None = None
        self._numbers = 0
        self._after: list[Callable[[], None]] = []
        # What whoever began it leaves for those who read along.
        self.note: Any = None
        # Told of the last chunk before any reader has it.
        self.on_last: Callable[[], None] | None = None
        self.is_over = False
        self.is_joinable = True
        self.outcome: Any = None
        self.error: Exception | None = None
        self.has_outcome = False
        self._task = asyncio.get_running_loop().create_task(self._run(work), name="single-flight")

    @property
    def readers(self) -> int:
        return len(self._readers)

    def join(self) -> int:
        """A number to read by. Leave with it."""
        self._numbers += 1
        self._readers[self._numbers] = 0
        return self._numbers

    def leave(self, number: int) -> None:
        if self._readers.pop(number, None) is None:
            return
        if not self._readers and not self.is_over:
            self.is_joinable = False
            self._task.cancel()
        self._wake()
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)

    def when_over(self, then: Callable[[], None]) -> None:
        if self.is_over:
            then()
        else:
            self._after.append(then)

    async def wait(self) -> None:
        """Until the outcome or the error is there."""
        while not self.has_outcome and not self.is_over:
            await self._wait()

    async def read(self, number: int) -> Batch:
        """The next batch of a streamed outcome. Raises `StopAsyncIteration` after the last, and what ended it early."""
        while True:
            at = self._readers.get(number)
            if at is None:
                raise UpstreamError("This caller reads too slowly for an answer that others read too.")
            if at < self._first + len(self._batches):
                self._readers[number] = at + 1
                batch = self._batches[at - self._first]
                self._trim()
                if self._paused is not None and not self._paused.done():
                    self._paused.set_result(None)
                return batch
            if self.is_over:
                if self.error is not None:
                    raise self.error
                raise StopAsyncIteration
            await self._wait()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, work: Awaitable[Any]) -> None:
        rest = None
        try:
            outcome = await work
            if isinstance(outcome, Reply):
                rest = outcome.rest
                if outcome.primed:
                    self._add(outcome.primed)
                self._told(outcome.primed)
            self.outcome, self.has_outcome = outcome, True
            self._wake()
            if rest is not None:
                await self._read_all(rest)
        except asyncio.CancelledError:
            self.error = Cancelled()
        except Exception as error:  # noqa: BLE001 - theirs who wait, and raised there
            self.error = error
        finally:
            self.is_over, self.is_joinable = True, False
            self._ended(self)
            after, self._after = self._after, []
            for then in after:
                then()
            self._wake()
            if rest is not None:
                await rest.aclose()  # type: ignore[attr-defined]

    async def _read_all(self, rest: AsyncIterator[Batch]) -> None:
        async for batch in rest:
            self._told(batch)
            self._add(batch)
            self._wake()
            if batch and batch[-1].is_final:
                return
            while self._is_ahead():
                self._paused = asyncio.get_running_loop().create_future()
                await self._paused

    def _told(self, batch: Batch) -> None:
        if batch and batch[-1].is_final and self.on_last is not None:
            self.on_last()

    def _add(self, batch: Batch) -> None:
        size = sum(_size(chunk) for chunk in batch)
        self._batches.append(batch)
        self._sizes.append(size)
        self._size += size
        if self._size > JOINED_BYTES:
            self.is_joinable = False
            self._trim()

    def _trim(self) -> None:
        """What every reader has, once nobody new may come."""
        if self.is_joinable or self.is_over or not self._readers:
            return
        least = min(self._readers.values())
        while self._first < least and self._batches:
            del self._batches[0]
            del self._sizes[0]
            self._first += 1

    def _is_ahead(self) -> bool:
        """Whether the fastest reader has enough to read; whoever is far behind it is let go."""
        if not self._readers:
            return False
        fastest = max(self._readers.values())
        if not self.is_joinable and sum(self._sizes) > _BEHIND_BYTES:
            for number, at in list(self._readers.items()):
                if at < fastest:
                    del self._readers[number]
            self._trim()
            self._wake()
        return sum(self._sizes[max(0, fastest - self._first) :]) > _AHEAD_BYTES

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # One that is cancelled is passed over.
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Reading:
    """The rest of one caller's reply. `each` makes of every chunk what this caller gets."""

    __slots__ = ("_each", "_number", "_sharing")

    def __init__(self, sharing: Sharing, number: int, each: Callable[[Chunk], Chunk] | None) -> None:
        self._sharing = sharing
        self._number = number
        self._each = each

    def __aiter__(self) -> "Reading":
        return self

    async def __anext__(self) -> Batch:
        try:
            batch = await self._sharing.read(self._number)
        except Cancelled:
            batch = (_broken(UpstreamError("The answer ended without its end.", code="upstream_cut")),)
        except TollkeeperError as error:
            batch = (_broken(error),)
        each = self._each
        return batch if each is None else [each(chunk) for chunk in batch]

    async def aclose(self) -> None:
        self._sharing.leave(self._number)


class SingleFlight:
    """One per worker: what is being asked for, by what it is."""

    def __init__(self) -> None:
        self._sharings: dict[Hashable, Sharing] = {}
        self._open: set[Sharing] = set()

    def find(self, key: Hashable) -> Sharing | None:
        """One that can still be joined."""
        sharing = self._sharings.get(key)
        return sharing if sharing is not None and sharing.is_joinable else None

    def begin(self, key: Hashable, work: Awaitable[Any]) -> Sharing:
        def ended(sharing: Sharing) -> None:
            self._open.discard(sharing)
            if self._sharings.get(key) is sharing:
                del self._sharings[key]

        sharing = self._sharings[key] = Sharing(work, ended)
        self._open.add(sharing)
        return sharing

    async def close(self) -> None:
        """Once no call is open any more; before the journal is closed."""
        for sharing in list(self._open):
            await sharing.close()


def _size(chunk: Chunk) -> int:
    return len(chunk.raw or b"") + len(chunk.native or b"") + chunk.text_length + 256


def _broken(error: TollkeeperError) -> Chunk:
    return Chunk({}, is_hidden=True, is_final=True, error=error)
