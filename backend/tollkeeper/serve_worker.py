"""One worker process of `serve`: takes its settings from the supervisor, serves the app, drains when told.

Run as `python -m tollkeeper.serve_worker LISTENER CONTROL PARENT NUMBER`: two inherited descriptors, the supervisor's
pid and the worker's number; the settings come as JSON on standard input, because they hold secrets.
"""

import gc
import sys

if __name__ == "__main__":
    # What is imported stays: looking through it again and again makes a quarter of the time of a start.
    gc.disable()
    # structlog takes it where it is there, to paint on terminals, which no worker writes to.
    sys.modules["rich"] = None  # type: ignore[assignment]

import asyncio
import ctypes
import json
import os
import signal
import socket
from typing import Any

import structlog
import uvloop

from tollkeeper.core.config import Settings
from tollkeeper.core.config_source import ConfigError
from tollkeeper.core.crypto import MasterKeyError
from tollkeeper.core.errors import BadRequest, TollkeeperError
from tollkeeper.core.log import configure
from tollkeeper.main import create_app
from tollkeeper.web.server import WorkerServer
from tollkeeper.wiring import Services

log = structlog.get_logger(__name__)
_PR_SET_PDEATHSIG = 1


class Control:
    """Our end of the pipe to the supervisor: one JSON document a line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def report(self, event: str, **fields: Any) -> None:
        os.write(self._descriptor, json.dumps({"event": event, **fields}, default=str).encode() + b"\n")


def die_with(parent: int) -> None:
    """A supervisor killed with -9 must leave no worker behind that holds its port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


async def serve(settings: Settings, listener: socket.socket, control: Control, number: int) -> None:
    app = create_app(settings)
    server = WorkerServer(app, settings, listener)
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def spawn_reload() -> None:
        task = loop.create_task(reload(app.state.services, control), name="reload")
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGTERM, server.drain)
    loop.add_signal_handler(signal.SIGHUP, spawn_reload)
    # Ctrl-C belongs to the supervisor; a worker started by hand treats it the same way.
    loop.add_signal_handler(signal.SIGINT, server.drain)

    def ready() -> None:
        services: Services = app.state.services
        # What was built at the start lives as long as the process: keep the collector away from it. To look for the little
        # of it that is garbage takes a tenth of the time of a start.
        gc.freeze()
        gc.enable()
        gc.set_threshold(50_000, 20, 100)
        control.report("ready", number=number, **services.describe())

    await server.run(on_started=ready)


async def reload(services: Services, control: Control) -> None:
    """SIGHUP: validate the whole, swap atomically, keep the old on error."""
    try:
        summary = await services.reload()
    except BadRequest as error:
        problems = error.details.get("problems", ())
        lines = "".join(f"\n  {problem}" for problem in problems) if isinstance(problems, list) else ""
        control.report("reloaded", ok=False, message=f"{error.message}{lines}")
    else:
        control.report("reloaded", ok=True, message=summary)


def main(words: list[str]) -> int:
    descriptor, pipe, parent, number = (int(word) for word in words)
    die_with(parent)
    control = Control(pipe)
    settings = Settings(**json.load(sys.stdin))
    configure(settings)
    listener = socket.socket(fileno=descriptor)
    try:
        uvloop.run(serve(settings, listener, control, number))
    except (TollkeeperError, ConfigError, MasterKeyError) as error:
        control.report("failed", message=str(error))
        return 1
    finally:
        listener.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
