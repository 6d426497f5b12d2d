"""A few at a time, some more waiting, the others told to come again: what everybody may ask for stays bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tollkeeper.core.errors import RateLimited


class Lane:
    def __init__(self, concurrency: int, *, most_waiting: int) -> None:
        self._free = asyncio.Semaphore(concurrency)
        self._most_waiting = most_waiting
        self._waiting = 0

    @property
    def is_busy(self) -> bool:
        """Nobody would be let in at once."""
        return self._free.locked()

    @property
    def waiting(self) -> int:
        return self._waiting

    async def acquire(self) -> None:
        """Raises RateLimited at once when too many wait already."""
        if self._waiting >= self._most_waiting:
            raise RateLimited("Too many people are signing in at this moment; try again.", retry_after_seconds=2.0)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    def release(self) -> None:
        self._free.release()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        await self.acquire()
        try:
            yield
        finally:
            self.release()
