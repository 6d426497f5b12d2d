"""`tollkeeper worker`: background jobs apart from the gateway, until SIGTERM or Ctrl-C."""

import asyncio
import contextlib
import signal

from tollkeeper.core.config import Settings
from tollkeeper.core.log import configure
from tollkeeper.wiring import run_jobs


async def run(settings: Settings) -> None:
    """Jobs in progress at the end are put back and run again elsewhere."""
    configure(settings)
    task = asyncio.ensure_future(run_jobs(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
