"""Running a loader beside a test, and waiting for what it does, with a deadline."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from tollkeeper.domains.catalog.loader import Reloader, SnapshotLoader


@asynccontextmanager
async def running(loader: SnapshotLoader | Reloader) -> AsyncIterator[None]:
    task = asyncio.create_task(loader.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)
