"""`world`: the application as it is served, on a real database and a real Valkey, with two tenants in it (one per module)."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import structlog

from tests.matrix.world import World, make_side
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import MasterKey
from tollkeeper.main import create_app
from tollkeeper.web.server import WorkerServer


@pytest.fixture(scope="module")
async def world(database_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    # The default prints every local variable of every frame, which takes seconds.
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(40),
    )
    settings = Settings(
        # People are made once for all tests, which take longer than a proof usually holds on a busy machine.
        step_up_seconds=3_600,
        _env_file=None,
        database_url=database_url,
        redis_url=valkey_url,
        master_key=MasterKey.generate(),
        data_dir=tmp_path_factory.mktemp("data"),
        jobs_in_process=False,
        access_log=False,
        # Whoever reads one reads it to its end.
        event_stream_seconds=0,
    )
    app = create_app(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = WorkerServer(app, settings, listener)
        started = asyncio.Event()
        serving = asyncio.create_task(server.run(on_started=started.set))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not started.is_set():
            await serving
        platform = app.state.services.database.platform
        yield World(app, listener.getsockname()[1], await make_side(platform), await make_side(platform))
        server.drain()
        await serving
    structlog.reset_defaults()
