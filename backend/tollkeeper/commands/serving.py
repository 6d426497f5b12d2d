"""`tollkeeper serve`, `worker`, `migrate` and `simulate`: the processes."""

import asyncio
import gc
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tollkeeper.commands.output import Json, console, fail, logs_aside, note, print_json, print_line

if TYPE_CHECKING:
    from tollkeeper.core.config import Settings
    from tollkeeper.core.config_layers import LayeredSettings

Config = Annotated[Path | None, typer.Option("--config", help="Path of tollkeeper.yaml.", show_default=False)]


def read_layers(config: Path | None = None, **flags: Any) -> "LayeredSettings":
    """Flags over environment over file; what does not fit ends the command with its name, its place and the reason."""
    from tollkeeper.configuration import load_configuration
    from tollkeeper.core.config_layers import layer_settings
    from tollkeeper.core.config_source import ConfigError
    from tollkeeper.gateway.providers import provider_kinds

    try:
        # The file may come from the environment, and may hold settings itself.
        chosen = config or layer_settings({}).settings.config
        if chosen is None:
            return layer_settings(flags)
        file = load_configuration(chosen, os.environ, kinds=provider_kinds())
        return layer_settings({**flags, "config": chosen}, file=file.settings, file_places=file.places)
    except ConfigError as error:
        fail(str(error), code=2)


def read_settings(config: Path | None = None, **flags: Any) -> "Settings":
    return read_layers(config, **flags).settings


def serve(
    *,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on.", show_default="8000")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Worker processes.", show_default="1")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Data folder.", show_default=".data")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Run the gateway; starts an embedded PostgreSQL and Valkey where no URL of yours is set."""
    from tollkeeper import banner
    from tollkeeper.core.first_run_file import base_url
    from tollkeeper.serve import StartError, Supervisor

    began = time.monotonic()
    # What is loaded to read the settings stays: looking through it again and again would be a tenth of that time.
    gc.disable()
    settings = read_settings(host=host, port=port, workers=workers, data_dir=data_dir, config=config)
    gc.freeze()
    gc.enable()

    def ready(report: dict[str, Any]) -> None:
        origin = settings.origin_at(report["port"])
        if as_json:
            print_json({"event": "ready", "base_url": base_url(origin), "first_run": bool(report.get("first_run"))})
        else:
            banner.show(console(), settings, origin, report, time.monotonic() - began)
        sys.stdout.flush()

    try:
        code = Supervisor(settings, note, ready).run()
    except StartError as error:
        fail(str(error))
    raise typer.Exit(code)


def worker(
    *,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Data folder.", show_default=".data")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Run background jobs alone, beside gateways with TOLLKEEPER_JOBS_IN_PROCESS=false."""
    from tollkeeper.core.errors import TollkeeperError
    from tollkeeper.worker import run

    settings = read_settings(data_dir=data_dir, config=config, log_format="json" if as_json else None)
    _require_stores(settings)
    note("Running background jobs. Stop: Ctrl-C")
    try:
        asyncio.run(run(settings))
    except TollkeeperError as error:
        fail(error.message)


def migrate(
    *,
    status: Annotated[bool, typer.Option("--status", help="Only say what is pending.")] = False,
    as_json: Json = False,
) -> None:
    """Bring your database to the newest schema (the embedded one is migrated at each start)."""
    from tollkeeper.core.errors import DependencyUnavailable, TollkeeperError
    from tollkeeper.db import migrations
    from tollkeeper.db.faults import explain

    settings = read_settings()
    _require_stores(settings)
    secret = settings.database_direct_url or settings.database_url
    assert secret is not None
    url = secret.get_secret_value()
    try:
        with logs_aside():
            pending = asyncio.run(migrations.pending(url))
            if not status and pending:
                note(f"applying {len(pending)} migrations ...")
                asyncio.run(migrations.upgrade(url))
    except DependencyUnavailable as error:
        fail(explain(error, url))
    except TollkeeperError as error:
        fail(error.message)
    if as_json:
        print_json({"pending": pending if status else [], "applied": [] if status else pending})
    elif not pending:
        note("The schema is up to date.")
    else:
        note(("Pending: " if status else "Applied: ") + ", ".join(pending))
    if status and pending:
        raise typer.Exit(1)


def simulate(
    *,
    port: Annotated[int, typer.Option("--port", help="Port to listen on.")] = 9101,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    api_key: Annotated[str | None, typer.Option("--api-key", help="The key callers must send; any when unset.")] = None,
    as_json: Json = False,
) -> None:
    """Run a simulated provider that speaks the vendors' wire formats, for tests and benchmarks."""
    from tollkeeper.simulate import serve as serve_simulator

    def say(line: str) -> None:
        if as_json:
            print_json({"event": "ready", "base_url": line.rpartition(" ")[2]})
        else:
            print_line(line)

    try:
        serve_simulator(host, port, api_key=api_key, say=say)
    except OSError as error:
        fail(f"cannot listen on {host}:{port} ({error.strerror}). Choose another port with --port.")


def _require_stores(settings: "Settings") -> None:
    if settings.database_url is None:
        fail(
            "TOLLKEEPER_DATABASE_URL is not set. An embedded database belongs to `tollkeeper serve`, which migrates it "
            "and runs its jobs by itself."
        )
