"""`tollkeeper doctor`: look at everything a gateway needs; each finding with its fix."""

import asyncio
import os
import shutil
import ssl
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from tollkeeper.commands.client import Url, running_origin
from tollkeeper.commands.output import FAILED, Json, console, logs_aside, print_json
from tollkeeper.commands.serving import Config, read_settings

if TYPE_CHECKING:
    from tollkeeper.core.config import Settings

_MIN_FREE_BYTES = 1024**3
_OLDEST_REDIS = (6, 2)


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    subject: str
    verdict: Verdict
    message: str
    fix: str | None = None


def doctor(
    *,
    config: Config = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Data folder.", show_default=".data")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Check configuration, stores, ports, disk and a running gateway; the exit code is 1 when something is bad."""
    settings = read_settings(config=config, data_dir=data_dir)
    findings = [
        *_configuration(settings),
        *_disk(settings),
        *_secrets(settings),
        *_stores(settings),
        *_gateway(settings, url),
    ]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        marks = {Verdict.OK: "[green]✓[/green]", Verdict.WARNING: "[yellow]![/yellow]", Verdict.BAD: "[red]✗[/red]"}
        screen = console()
        for finding in findings:
            screen.print(f"{marks[finding.verdict]} {finding.subject:<14} {finding.message}", highlight=False)
            if finding.fix:
                screen.print(f"  {'':<14} → {finding.fix}", highlight=False)
    if any(finding.verdict is Verdict.BAD for finding in findings):
        raise typer.Exit(FAILED)


def _configuration(settings: "Settings") -> Iterator[Finding]:
    from tollkeeper.configuration import load_configuration
    from tollkeeper.gateway.providers import provider_kinds

    if settings.config is None:
        yield Finding("configuration", Verdict.OK, "no file; providers come from the environment and the database")
        return
    # It was read once already for the settings: what is left to say is what is in it.
    configuration = load_configuration(settings.config, os.environ, kinds=provider_kinds())
    count = len(configuration.catalog.models)
    yield Finding("configuration", Verdict.OK, f"{settings.config}: {count} models")
    for warning in configuration.warnings:
        yield Finding("configuration", Verdict.WARNING, str(warning))


def _disk(settings: "Settings") -> Iterator[Finding]:
    folder = settings.data_dir
    while not folder.exists():
        folder = folder.resolve().parent
    free = shutil.disk_usage(folder).free
    if not folder.is_dir():
        yield Finding("data folder", Verdict.BAD, f"{folder} is no folder", "choose another with --data-dir")
    elif not os.access(folder, os.W_OK):
        yield Finding("data folder", Verdict.BAD, f"{folder} cannot be written to", "choose another with --data-dir")
    elif free < _MIN_FREE_BYTES:
        yield Finding("data folder", Verdict.WARNING, f"{free // 1024**2} MB free", "the journal needs room: free some")
    else:
        yield Finding("data folder", Verdict.OK, f"{settings.data_dir}, {free // 1024**3} GB free")


def _secrets(settings: "Settings") -> Iterator[Finding]:
    from tollkeeper.core.crypto import MasterKeyError
    from tollkeeper.core.master_keys import MasterKeys

    try:
        keys = MasterKeys.of(settings)
    except MasterKeyError as error:
        yield Finding("master key", Verdict.BAD, str(error), "make a key with: openssl rand -hex 32")
        return
    if keys is not None:
        others = f", {len(keys.previous)} previous" if keys.previous else ""
        yield Finding("master key", Verdict.OK, f"set{others}")
    elif settings.database_url is None:
        yield Finding("master key", Verdict.OK, "generated beside the embedded database")
    else:
        yield Finding(
            "master key",
            Verdict.BAD,
            "TOLLKEEPER_MASTER_KEY is not set",
            "set it to the output of: openssl rand -hex 32",
        )


def _stores(settings: "Settings") -> Iterator[Finding]:
    for subject, secret, ask in (
        ("PostgreSQL", settings.database_direct_url or settings.database_url, _ask_postgres),
        ("Redis", settings.redis_url, _ask_redis),
    ):
        if secret is None:
            yield Finding(subject, Verdict.OK, "embedded, started by tollkeeper serve")
        else:
            yield ask(subject, secret.get_secret_value())


def _ask_postgres(subject: str, url: str) -> Finding:
    """Signs in, looks at what the login may do and at the schema."""
    from tollkeeper.core.errors import DependencyUnavailable, TollkeeperError
    from tollkeeper.db import migrations

    began = time.monotonic()
    try:
        with logs_aside():
            pending = asyncio.run(migrations.pending(url))
    except DependencyUnavailable as error:
        reason = str(error.__cause__ or "it took too long").splitlines()[0]
        return Finding(
            subject,
            Verdict.BAD,
            f"{_place(url)}: {reason}",
            "is it running, is a firewall between, is the login right?",
        )
    except TollkeeperError as error:
        return Finding(subject, Verdict.BAD, error.message, "let an administrator of the database do that")
    if pending:
        return Finding(subject, Verdict.BAD, f"{len(pending)} migrations are pending", "run: tollkeeper migrate")
    return Finding(subject, Verdict.OK, f"{_place(url)} answers in {(time.monotonic() - began) * 1000:.0f} ms")


def _ask_redis(subject: str, url: str) -> Finding:
    import redis

    from tollkeeper.core.redis import one_of

    began = time.monotonic()
    try:
        with redis.Redis.from_url(one_of(url), socket_timeout=3, socket_connect_timeout=3) as client:
            version = str(client.info("server")["redis_version"])
    except (redis.RedisError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        return Finding(
            subject,
            Verdict.BAD,
            f"{_place(url)}: {reason}",
            "is it running, is a firewall between, is the password right?",
        )
    milliseconds = (time.monotonic() - began) * 1000
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_REDIS:
        return Finding(subject, Verdict.BAD, f"version {version} is too old", "use Redis 6.2 or newer, or Valkey")
    return Finding(subject, Verdict.OK, f"{_place(url)} answers in {milliseconds:.0f} ms")


def _place(url: str) -> str:
    """Host and port alone: the rest of the address holds a password."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return f"{parts.hostname or 'localhost'}{f':{port}' if port else ''}"


def _gateway(settings: "Settings", url: str | None) -> Iterator[Finding]:
    import httpx

    origin = (url or running_origin(settings.data_dir) or settings.origin).rstrip("/").removesuffix("/v1")
    try:
        # The system's certificates, as the other commands have it.
        verify = ssl.create_default_context() if origin.startswith("https:") else False
        answer = httpx.get(f"{origin}/health/ready", timeout=5, trust_env=False, verify=verify)
        document = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        fix = (
            "name its authority: SSL_CERT_FILE=authority.pem"
            if "CERTIFICATE_VERIFY_FAILED" in str(error)
            else "start it: tollkeeper serve"
        )
        reason = str(error) or type(error).__name__
        yield Finding("gateway", Verdict.WARNING, f"none answers at {origin} ({reason})", fix)
        return
    verdict = Verdict.OK if answer.status_code == 200 else Verdict.BAD
    yield Finding("gateway", verdict, f"{origin} is {document.get('status', 'unknown')}")
    for name, state in (document.get("dependencies") or {}).items():
        is_fine = state.get("status") == "ok"
        yield Finding(
            f"  {name}", Verdict.OK if is_fine else Verdict.WARNING, str(state.get("message") or state.get("status"))
        )
