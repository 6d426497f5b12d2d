"""A part of `wiring`: what every start does before anything is served, and what it is refused for.

The master keys, the database with its migrations, the first run, the check that every stored secret can be opened; and
how a gateway starts without PostgreSQL and makes up for it when it comes.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog
from pydantic import SecretStr

from tollkeeper.background import running
from tollkeeper.core.clock import Clock
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import MasterKeyError, SecretBox
from tollkeeper.core.errors import DependencyUnavailable, TollkeeperError
from tollkeeper.core.first_run_file import write_first_run
from tollkeeper.core.master_keys import MasterKeys
from tollkeeper.core.passwords import Passwords
from tollkeeper.core.secrets import KeyHasher
from tollkeeper.db import migrations
from tollkeeper.db.faults import explain, is_unreachable
from tollkeeper.db.session import Database
from tollkeeper.domains.catalog.kept import CatalogFile
from tollkeeper.domains.identity.first_run import FirstRun, ensure_first_run
from tollkeeper.domains.secrets import service as secret_store

log = structlog.get_logger(__name__)

# How often PostgreSQL is asked after a start without it.
_ARRIVAL_SECONDS: Final = 1.0


class StartRefused(TollkeeperError):
    """The gateway must not start like this; the message says what to do."""

    code = "start_refused"


@dataclass(frozen=True, slots=True)
class Opened:
    """`is_late`: PostgreSQL is away; what every start does with it is done when it comes."""

    database: Database
    kept: CatalogFile
    first_run: FirstRun | None
    is_late: bool


async def open_for_gateway(
    settings: Settings,
    keys: MasterKeys,
    hasher: KeyHasher,
    passwords: Passwords,
    clock: Clock,
    stack: AsyncExitStack,
) -> Opened:
    """As `open_database`; with what an earlier start left on disk also without PostgreSQL, to serve known keys."""
    database = _connect(settings, stack)
    kept = CatalogFile(settings.data_dir / "snapshots" / "catalog", keys.secret_box(), database_url(settings))
    complete = partial(_complete_start, settings, database, keys, hasher, passwords, clock)
    try:
        return Opened(database, kept, await complete(), is_late=False)
    except DependencyUnavailable as error:
        reason = explain(error, database_url(settings))
        if not is_unreachable(error) or await asyncio.to_thread(kept.read) is None:
            raise StartRefused(reason) from error
        log.warning("started_without_postgresql", reason=reason)
    await stack.enter_async_context(running({"arrival": _arrive(complete)}))
    return Opened(database, kept, None, is_late=True)


async def open_database(settings: Settings, stack: AsyncExitStack) -> Database:
    database = _connect(settings, stack)
    try:
        await _check_database(settings, database)
    except DependencyUnavailable as error:
        raise StartRefused(explain(error, database_url(settings))) from error
    return database


def _connect(settings: Settings, stack: AsyncExitStack) -> Database:
    database = Database(
        database_url(settings),
        pool_size=settings.database_pool_size,
        is_behind_pooler=settings.database_direct_url is not None,
    )
    stack.push_async_callback(database.close)
    return database


async def _check_database(settings: Settings, database: Database) -> None:
    direct = database_url_for_listening(settings)
    pending = await migrations.pending(direct)
    if pending:
        if not settings.migrate_at_start:
            raise StartRefused(
                f"The database lacks {len(pending)} migrations ({', '.join(pending)}). Run: tollkeeper migrate"
            )
        await migrations.upgrade(direct)
    await database.check()


async def _complete_start(
    settings: Settings,
    database: Database,
    keys: MasterKeys,
    hasher: KeyHasher,
    passwords: Passwords,
    clock: Clock,
) -> FirstRun | None:
    """What every start of a gateway does with the database before it serves from it."""
    await _check_database(settings, database)
    first_run = await _ensure_first_run(settings, database, keys, hasher, passwords, clock)
    await _check_envelopes(database, keys.secret_box())
    return first_run


async def _arrive(complete: Callable[[], Coroutine[Any, Any, FirstRun | None]]) -> None:
    """Make up for what a start without PostgreSQL left out; a database that is not ours to use ends this worker."""
    while True:
        await asyncio.sleep(_ARRIVAL_SECONDS)
        try:
            await complete()
        except DependencyUnavailable:
            continue
        except TollkeeperError as error:
            # The next start of this worker says it again, to the operator.
            log.critical("postgresql_refused", reason=str(error))
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            log.info("postgresql_arrived")
        await asyncio.Event().wait()


async def _ensure_first_run(
    settings: Settings, database: Database, keys: MasterKeys, hasher: KeyHasher, passwords: Passwords, clock: Clock
) -> FirstRun | None:
    first_run = await ensure_first_run(
        database,
        settings,
        hasher=hasher,
        passwords=passwords,
        master_key_fingerprint=keys.current.fingerprint(),
        previous_fingerprints=keys.previous_fingerprints,
        clock=clock,
    )
    if first_run is not None:
        write_first_run(
            settings.data_dir,
            settings.origin,
            api_key=first_run.api_key,
            admin_email=first_run.admin_email,
            admin_password=first_run.admin_password,
        )
    return first_run


async def _check_envelopes(database: Database, box: SecretBox) -> None:
    """Better no start than secrets that fail one by one, each when it is needed."""
    unknown = await secret_store.find_unknown_keks(database, box)
    if unknown:
        where = ", ".join(f"{table} ({count} rows, key {kek_id})" for table, kek_id, count in unknown)
        raise StartRefused(
            f"Stored secrets are sealed under a master key that is not given: {where}. "
            "Name it in TOLLKEEPER_MASTER_KEYS_PREVIOUS, then run: tollkeeper secrets rotate"
        )


def find_master_keys(settings: Settings) -> MasterKeys | None:
    try:
        return MasterKeys.of(settings)
    except MasterKeyError as error:
        raise StartRefused(str(error)) from error


def open_master_keys(settings: Settings) -> MasterKeys:
    keys = find_master_keys(settings)
    if keys is None:
        raise StartRefused("TOLLKEEPER_MASTER_KEY is not set.")
    return keys


def database_url(settings: Settings) -> str:
    return required(settings.database_url, "TOLLKEEPER_DATABASE_URL")


def database_url_for_listening(settings: Settings) -> str:
    """The one past any pooler: sessions that listen, and migrations, need a connection of their own."""
    return required(settings.database_direct_url or settings.database_url, "TOLLKEEPER_DATABASE_URL")


def required(value: SecretStr | None, name: str) -> str:
    if value is None:
        raise StartRefused(f"{name} is not set.")
    return value.get_secret_value()
