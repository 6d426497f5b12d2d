"""Transactions: each begins by taking a role and, for a tenant's work, naming the tenant that row-level security sees.

Both settings are local to the transaction, so a pooled connection (ours or a pooler's in transaction mode) carries
nothing over to its next borrower. Without a tenant the application role sees no row at all.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from tollkeeper.core.errors import DependencyUnavailable

log = structlog.get_logger(__name__)

APP_ROLE: Final = "tk_app"
LOOKUP_ROLE: Final = "tk_lookup"
PLATFORM_ROLE: Final = "tk_platform"
OWNER_ROLE: Final = "tk_owner"

_BEGIN: Final = text("SELECT set_config('role', :role, true), set_config('app.tenant', :tenant, true)")
# SQLSTATE classes: connection, resources, operator intervention, system; 25006 is a read-only standby.
_UNAVAILABLE_STATES: Final = ("08", "53", "57", "58", "25006", "40")
_CONNECTION_FAULTS: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    PoolTimeout,
)


class Database:
    """One engine a process. `lookup_seconds` bounds what the request path waits for, the pool included."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        statement_seconds: float = 30,
        lookup_seconds: float = 0.1,
        connect_seconds: float = 3,
    ) -> None:
        self._lookup_seconds = lookup_seconds
        address, arguments = driver_url(url)
        self._engine: AsyncEngine = create_async_engine(
            address,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=connect_seconds,
            pool_recycle=1800,
            connect_args={
                "timeout": connect_seconds,
                "server_settings": {
                    "application_name": "tollkeeper",
                    "statement_timeout": str(int(statement_seconds * 1000)),
                    "lock_timeout": "5000",
                    "idle_in_transaction_session_timeout": "60000",
                    "timezone": "UTC",
                },
                **arguments,
            },
        )

    @property
    def engine(self) -> AsyncEngine:
        return self._engine

    @contextlib.asynccontextmanager
    async def tenant(self, tenant_id: UUID) -> AsyncIterator[AsyncSession]:
        """A tenant's transaction: it sees and writes that tenant's rows, whatever a query forgets to filter."""
        async with self._transaction(APP_ROLE, str(tenant_id)) as session:
            yield session

    @contextlib.asynccontextmanager
    async def platform(self) -> AsyncIterator[AsyncSession]:
        """A transaction across tenants, for the journal shipper, jobs and platform administrators."""
        async with self._transaction(PLATFORM_ROLE, "") as session:
            yield session

    @contextlib.asynccontextmanager
    async def lookup(self) -> AsyncIterator[AsyncSession]:
        """A read of the request path, within `lookup_seconds` from here to its end, or `DependencyUnavailable`."""
        with _faults_named():
            async with asyncio.timeout(self._lookup_seconds), self._transaction(LOOKUP_ROLE, "") as session:
                yield session

    @contextlib.asynccontextmanager
    async def owner(self) -> AsyncIterator[AsyncSession]:
        """The role that owns the tables, for partitions alone; row-level security shows it no row of a tenant."""
        async with self._transaction(OWNER_ROLE, "") as session:
            yield session

    @contextlib.asynccontextmanager
    async def raw_platform(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """The driver's own connection inside a platform transaction, for bulk writes."""
        async with self._transaction(PLATFORM_ROLE, "") as session:
            connection = await session.connection()
            raw = await connection.get_raw_connection()
            driver = raw.driver_connection
            assert driver is not None
            yield driver

    @contextlib.asynccontextmanager
    async def _transaction(self, role: str, tenant: str) -> AsyncIterator[AsyncSession]:
        with _faults_named():
            async with self._connection() as connection, connection.begin():
                await connection.execute(_BEGIN, {"role": role, "tenant": tenant})
                async with AsyncSession(
                    bind=connection, expire_on_commit=False, join_transaction_mode="rollback_only"
                ) as session:
                    yield session
                    await session.flush()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        """A pooled connection; one whose work was cancelled is closed, so that no answer of it can reach another."""
        async with self._engine.connect() as connection:
            try:
                yield connection
            except asyncio.CancelledError:
                await connection.invalidate()
                raise

    async def ping(self) -> None:
        """Raises `DependencyUnavailable` when PostgreSQL does not answer in time."""
        async with self.lookup() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self._engine.dispose()


@contextlib.contextmanager
def _faults_named() -> Any:
    """A fault of the connection becomes `DependencyUnavailable`; a mistake in SQL stays what it is."""
    try:
        yield
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig is not None else None
        state = getattr(error.orig, "sqlstate", None) or getattr(cause, "sqlstate", None) or ""
        is_fault = error.connection_invalidated or isinstance(cause, _CONNECTION_FAULTS)
        if is_fault or state.startswith(_UNAVAILABLE_STATES):
            raise unavailable() from error
        raise
    except (*_CONNECTION_FAULTS, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError) as error:
        raise unavailable() from error


def unavailable() -> DependencyUnavailable:
    return DependencyUnavailable("The database does not answer. Try again shortly.", retry_after_seconds=2)


def driver_url(url: str) -> tuple[str, dict[str, Any]]:
    """An ordinary `postgresql://` URL as SQLAlchemy wants it, and the arguments that asyncpg wants apart.

    `sslmode` and `sslrootcert` mean what they mean to libpq (`verify-full` checks chain and host name).
    """
    parts = urlsplit(url)
    query: dict[str, str] = dict(parse_qsl(parts.query))
    arguments: dict[str, Any] = {}
    # asyncpg reads libpq's TLS words itself from a DSN; SQLAlchemy's dialect takes the DSN apart, so hand it over whole.
    tls = {name: query.pop(name) for name in ("sslmode", "sslrootcert", "sslcert", "sslkey") if name in query}
    if tls:
        arguments["dsn"] = parts._replace(scheme="postgresql", query=urlencode(query | tls)).geturl()
    return parts._replace(scheme="postgresql+asyncpg", query=urlencode(query)).geturl(), arguments
