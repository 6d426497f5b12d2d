"""Answers that nobody waits for any more, read to their end where the vendor bills them all the same.

Bounded in number and in time; what does not fit is closed and settled at an estimate.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

from tollkeeper.core.errors import TollkeeperError
from tollkeeper.gateway.stage import Leftover

MOST_AT_ONCE: Final = 256
SECONDS: Final = 120.0


class Drains:
    """One per worker. Close it before the journal: what is still open is settled then."""

    def __init__(self, most: int = MOST_AT_ONCE, seconds: float = SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def count(self) -> int:
        return len(self._tasks)

    def take(self, leftover: Leftover, conclude: Callable[[], None]) -> None:
        """Read the answer to its end, then `conclude`; where there is no room for that, conclude now and close it."""
        if self._is_closed or len(self._tasks) >= self._most:
            conclude()
            self._start(leftover.aclose())
        else:
            leftover.keep()
            self._start(self._drain(leftover, conclude))

    async def close(self) -> None:
        self._is_closed = True
        # A task that never began would not come to its conclusion.
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, leftover: Leftover, conclude: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await leftover.drain()
        except (TimeoutError, TollkeeperError):
            # It is settled at what was seen of it.
            pass
        finally:
            conclude()
