"""Brings a database to the newest schema. The check at each start costs one query and does not load alembic.

Safe to run at once from any number of processes: an advisory lock of the database lets one in at a time.
"""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import asyncpg
import structlog
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.db.faults import translate_connect_faults, translate_faults
from tollkeeper.db.roles import OWNER, DatabaseUnfit, check_login, ensure_roles
from tollkeeper.db.session import CONNECT_SECONDS, plain_url

log = structlog.get_logger(__name__)

EXIT_REFUSED: Final = 3
_LOCK: Final = 7_461_205_118_392_044  # any number, as long as it never changes
_FILE: Final = re.compile(r"(\d{4})_\w+\.py")
_PARTITION: Final = re.compile(r"(usage_logs|request_logs|guardrail_events)_p\d{8}")

NameType = Literal["schema", "table", "column", "index", "unique_constraint", "foreign_key_constraint"]


class MigrationError(DatabaseUnfit):
    """A migration failed; nothing of it was kept."""

    code = "migration_failed"


async def pending(url: str) -> list[str]:
    """Names of the migrations this database lacks, oldest first; [] when it is current.

    Raises `DatabaseUnfit` for a login that may not be used, or a schema newer than this release.
    """
    known = _known()
    with translate_faults():
        connection = await _connect(url)
        try:
            if await connection.fetchval("SELECT to_regclass('public.alembic_version') IS NULL"):
                return list(known.values())
            await check_login(connection)
            async with connection.transaction():
                await connection.execute(f"SET LOCAL ROLE {OWNER}")
                current = await connection.fetchval("SELECT version_num FROM alembic_version")
        finally:
            await connection.close()
    if current is not None and current not in known:
        raise DatabaseUnfit(
            f"The database's schema ({current}) is newer than this release knows ({max(known)}). Run the newer release."
        )
    return [name for revision, name in known.items() if current is None or revision > current]


async def upgrade(url: str) -> None:
    """Create the roles where they are missing and apply what is pending, in a process of its own (`db/upgrade.py`)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tollkeeper.db.upgrade",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # The package as this process found it, however it was put on the path.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    # The address holds a password: standard input, never an argument.
    output, errors = await process.communicate(url.encode())
    if process.returncode == 0:
        return
    if process.returncode != EXIT_REFUSED:
        log.error("migration_failed", traceback=errors.decode(errors="replace"))
        reason = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise MigrationError(f"A migration failed and was rolled back: {reason}")
    code, _, message = output.decode().partition("\n")
    if code == DatabaseUnfit.code:
        raise DatabaseUnfit(message)
    raise DependencyUnavailable(message, code=code)


async def run_as_owner(url: str, work: Callable[[Connection], None]) -> None:
    """Run `work` in one transaction as the owner of the tables, alone in this database."""
    with translate_faults():
        connection = await _connect(url)
        try:
            await ensure_roles(connection)
        finally:
            await connection.close()

        async def connect(**_arguments: Any) -> asyncpg.Connection:
            return await _connect(url)

        engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
        try:
            async with engine.begin() as session:
                await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                await session.execute(text(f"SET LOCAL ROLE {OWNER}"))
                await session.run_sync(work)
        finally:
            await engine.dispose()


def is_ours(name: str | None, kind: NameType, _parents: Any) -> bool:
    """For alembic's comparison: daily partitions are made by a job, not by the models."""
    return kind != "table" or name is None or _PARTITION.fullmatch(name) is None


async def _connect(url: str) -> asyncpg.Connection:
    with translate_connect_faults():
        connection: asyncpg.Connection = await asyncpg.connect(plain_url(url), timeout=CONNECT_SECONDS)
        return connection


def _known() -> dict[str, str]:
    names = sorted(path.name for path in (migrations_folder() / "versions").iterdir())
    return {match[1]: name.removesuffix(".py") for name in names if (match := _FILE.fullmatch(name))}


def migrations_folder() -> Path:
    """Inside the package when it came as a wheel, else at the root of the checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "migrations"
    return packaged if packaged.is_dir() else package.parents[1] / "migrations"
