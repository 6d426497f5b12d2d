"""Bringing a database to the newest schema: at the start with the embedded one, by `tollkeeper migrate` otherwise.

Safe to run from several processes at once: the first takes an advisory lock, the others wait and find nothing to do.
"""

import asyncio
import re
import threading
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tollkeeper.core.errors import DependencyUnavailable, TollkeeperError
from tollkeeper.db.session import APP_ROLE, LOOKUP_ROLE, OWNER_ROLE, PLATFORM_ROLE, driver_url, unavailable

ROLES: Final = (OWNER_ROLE, APP_ROLE, LOOKUP_ROLE, PLATFORM_ROLE)
# Any constant of our own: the key of the advisory lock that migrations take.
LOCK: Final = 7_365_410_921
# Alembic keeps the running migration in module globals: one at a time in a process.
_ALEMBIC: Final = threading.Lock()
_REVISION: Final = re.compile(r'^revision(?:: str)? = "([0-9a-z_]+)"', re.MULTILINE)
_PARENT: Final = re.compile(r'^down_revision(?:: [^=]+)? = (?:"([0-9a-z_]+)"|None)', re.MULTILINE)


class MigrationError(TollkeeperError):
    """The schema cannot be brought up to date; the message says what an administrator must do."""

    code = "migration_failed"


def scripts_folder() -> Path:
    """`migrations/` of the checkout, or the copy inside an installed package."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "migrations", package.parent.parent / "migrations"):
        if (candidate / "env.py").exists():
            return candidate
    raise MigrationError("The migrations are missing from this installation. Install it again.")


def revisions() -> list[str]:
    """Every revision, oldest first, read from the files: much cheaper than importing alembic at each start."""
    parents: dict[str | None, str] = {}
    for path in sorted((scripts_folder() / "versions").glob("*.py")):
        source = path.read_text()
        revision, parent = _REVISION.search(source), _PARENT.search(source)
        if revision is None or parent is None:
            raise MigrationError(f"{path.name} names no revision.")
        parents[parent.group(1)] = revision.group(1)
    ordered: list[str] = []
    while (following := parents.get(ordered[-1] if ordered else None)) is not None:
        ordered.append(following)
    return ordered


async def pending(url: str) -> list[str]:
    """The revisions that the database lacks, oldest first."""
    known = revisions()
    current = await _current(url)
    if current is None:
        return known
    if current not in known:
        raise MigrationError(
            f"The database is at schema {current}, which this version does not know: it is newer. Run that version again."
        )
    return known[known.index(current) + 1 :]


async def upgrade(url: str, *, revision: str = "head") -> None:
    """Apply what is pending. Raises `MigrationError` or `DependencyUnavailable`."""
    # Alembic is imported where it is needed: a start that finds the schema up to date does without it.
    from alembic import command
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", str(scripts_folder()))
    configuration.attributes["url"] = url

    def run() -> None:
        with _ALEMBIC:
            command.upgrade(configuration, revision)

    try:
        await asyncio.to_thread(run)
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
        raise unavailable() from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise unavailable() from error
        raise MigrationError(f"A migration failed: {str(error.orig).splitlines()[-1]}") from error


async def _current(url: str) -> str | None:
    address, arguments = driver_url(url)
    engine = create_async_engine(address, poolclass=NullPool, connect_args={"timeout": 10, **arguments})
    try:
        async with engine.connect() as connection:
            row: Any = (await connection.execute(text("SELECT to_regclass('public.alembic_version')"))).scalar()
            if row is None:
                return None
            found = (await connection.execute(text("SELECT version_num FROM public.alembic_version"))).scalar()
            return None if found is None else str(found)
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
        raise DependencyUnavailable("The database does not answer. Is it running, and is its URL right?") from error
    finally:
        await engine.dispose()
