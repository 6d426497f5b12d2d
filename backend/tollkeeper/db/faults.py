"""What counts as "PostgreSQL did not answer": every such fault becomes `DependencyUnavailable`, so a 503, never a 401.

Connecting is where an `OSError` means the database; inside a transaction only the driver's and SQLAlchemy's own errors do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import structlog
from sqlalchemy import exc
from sqlalchemy.orm.exc import StaleDataError

from tollkeeper.core.errors import Conflict, DependencyUnavailable

log = structlog.get_logger(__name__)

RETRY_AFTER_SECONDS: Final = 2.0
# Connection gone; resources; shut down, crashed, starting or cancelled by a timeout; lock not available; read-only.
_SQLSTATE_CLASSES: Final = ("08", "53", "57", "58")
_SQLSTATES: Final = frozenset({"55P03", "25006", "40001", "40P01", "28P01", "28000", "3D000"})


def unavailable(reason: str) -> DependencyUnavailable:
    log.warning("database_unavailable", reason=reason)
    return DependencyUnavailable("The database does not answer; try again.", retry_after_seconds=RETRY_AFTER_SECONDS)


def explain(error: DependencyUnavailable, url: str) -> str:
    """For the operator at a start, not for callers: which server, and what it or the network said. No password."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2] or "localhost"
    reason = str(error.__cause__ or "").strip().partition("\n")[0] or "it took too long"
    return (
        f"The database at {place} cannot be used: {reason}. "
        "Is it running, does a firewall stand between, is the login right?"
    )


def is_unreachable(error: DependencyUnavailable) -> bool:
    """Whether the server was not there, or not ready: it may come. A wrong login or name will not mend by itself."""
    away = (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError)
    return isinstance(error.__cause__, away)


@contextmanager
def translate_connect_faults() -> Iterator[None]:
    """Around opening a connection, where nothing but the database can be at fault."""
    try:
        yield
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise unavailable(type(error).__name__) from error


@contextmanager
def translate_faults() -> Iterator[None]:
    """Around a transaction."""
    try:
        yield
    except StaleDataError as error:
        raise Conflict(
            "The object was changed by someone else meanwhile; read it again.", code="concurrent_change"
        ) from error
    except (
        exc.DBAPIError,
        exc.TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as error:
        if not is_connection_fault(error):
            raise
        raise unavailable(type(error).__name__) from error


def is_connection_fault(error: BaseException) -> bool:
    if isinstance(error, exc.TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return True
    if isinstance(error, exc.DBAPIError):
        if error.connection_invalidated or isinstance(error, exc.InterfaceError):
            return True
        state = getattr(error.orig, "sqlstate", None)
    else:
        state = getattr(error, "sqlstate", None)
    return isinstance(state, str) and (state[:2] in _SQLSTATE_CLASSES or state in _SQLSTATES)
