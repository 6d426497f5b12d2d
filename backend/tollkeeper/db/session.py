"""Transactions: each begins by taking on a role and a tenant, ends at the edge, and is never left half done.

The first statement of every transaction is `set_config(…, true)`: local to the transaction, so a pooled connection (ours
or a pooler's) carries nothing to its next user. A connection whose statement was cancelled is closed, not reused.
Failure policy: PostgreSQL down, slow or read-only: `DependencyUnavailable`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.db.breaker import Breaker
from tollkeeper.db.faults import translate_connect_faults, translate_faults, unavailable
from tollkeeper.db.roles import APP, LOOKUP, OWNER, PLATFORM, check_login

log = structlog.get_logger(__name__)

# A look-up may take so long; who waits for it has a deadline of their own (`database_lookup_ms`).
LOOKUP_SECONDS: Final = 2.0
CONNECT_SECONDS: Final = 5.0
POOL_WAIT_SECONDS: Final = 5.0
STATEMENT_MS: Final = 30_000
LOCK_MS: Final = 5_000
OWNER_MS: Final = 600_000
_BEGIN: Final = text(
    "SELECT set_config('role', :role, true), set_config('app.tenant', :tenant, true), "
    "set_config('statement_timeout', :statement, true), set_config('lock_timeout', :lock, true)"
)
_AFTER_COMMIT: Final = "after_commit"


class Database:
    """The connections of one process. Nobody else opens one, the LISTEN connection of announcements aside."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        lookup_pool_size: int = 3,
        lookup_seconds: float = LOOKUP_SECONDS,
        pool_wait_seconds: float = POOL_WAIT_SECONDS,
        is_behind_pooler: bool = False,
        session_info: Mapping[str, Any] | None = None,
    ) -> None:
        """`is_behind_pooler`: a pooler in transaction mode hands our connection to others, so nothing is prepared.

        `session_info` is found in the `info` of every session: collaborators of what happens at its commit.
        """
        self._url = plain_url(url)
        self._session_info: dict[str, Any] = dict(session_info or {})
        self._is_behind_pooler = is_behind_pooler
        self._lookup_seconds = lookup_seconds
        self._engine = self._create_engine(pool_size, pool_wait_seconds)
        # Of their own: no report and no burst of writes keeps a caller's key from being proven.
        self._lookups = self._create_engine(lookup_pool_size, CONNECT_SECONDS)
        self._lookup_pool_size = lookup_pool_size
        self._opening: set[asyncio.Future[AsyncConnection]] = set()
        self._giving_back: set[asyncio.Future[None]] = set()
        self._breaker = Breaker()

    def carry(self, name: str, collaborator: Any) -> None:
        """Put one more into the `info` of every later session: one that needs the database itself, or comes after it."""
        self._session_info[name] = collaborator

    @asynccontextmanager
    async def tenant(self, tenant_id: UUID) -> AsyncIterator[AsyncSession]:
        """Work inside one tenant: row-level security shows no other."""
        async with self._transaction(self._engine, APP, tenant_id) as session:
            yield session

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[AsyncSession]:
        """Work across tenants."""
        async with self._transaction(self._engine, PLATFORM) as session:
            yield session

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[AsyncSession]:
        """Work on the tables themselves: days made ahead, days dropped. Row-level security shows it no row."""
        async with self._transaction(self._engine, OWNER, statement_ms=OWNER_MS) as session:
            yield session

    @asynccontextmanager
    async def raw_platform(self) -> AsyncIterator[asyncpg.Connection]:
        """The driver's own connection inside a `platform` transaction, for bulk writes."""
        async with self.platform() as session:
            yield await driver_of(session)

    @asynccontextmanager
    async def lookup(self, *, deadline_seconds: float | None = None) -> AsyncIterator[AsyncSession]:
        """Read-only, across tenants. The deadline holds for everything, the wait for a connection included.

        Without `deadline_seconds` it is the one of the calls' path, with a breaker in front.
        """
        if deadline_seconds is not None:
            async with self._lookup(deadline_seconds) as session:
                yield session
            return
        if not self._breaker.admits(time.monotonic()):
            raise unavailable("breaker open")
        try:
            async with self._lookup(self._lookup_seconds) as session:
                yield session
        except DependencyUnavailable:
            self._breaker.failed(time.monotonic())
            raise
        self._breaker.succeeded()

    @asynccontextmanager
    async def _lookup(self, seconds: float) -> AsyncIterator[AsyncSession]:
        try:
            async with asyncio.timeout(seconds):
                with translate_faults():
                    async with (
                        self._lookup_connection() as connection,
                        AsyncSession(connection, expire_on_commit=False) as session,
                    ):
                        # PostgreSQL gives up as well, so that no abandoned query goes on working.
                        await _begin_retrying(session, LOOKUP, None, int(seconds * 1000) + 50)
                        yield session
        except TimeoutError:
            raise unavailable("lookup deadline") from None

    async def check(self) -> None:
        """At the start. Raises `DatabaseUnfit` for a superuser or a login without the roles; opens a look-up's connection."""
        with translate_faults():
            async with self._engine.connect() as connection:
                raw = await connection.get_raw_connection()
                assert isinstance(raw.driver_connection, asyncpg.Connection)
                await check_login(raw.driver_connection)
            # Opened now: connecting would use up most of the time in which the first caller's key must be proven.
            async with self._lookups.connect():
                pass

    async def ping(self, *, deadline_seconds: float = 1.0) -> None:
        """For readiness. Raises `DependencyUnavailable`."""
        async with self.lookup(deadline_seconds=deadline_seconds) as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        for opening in self._opening:
            opening.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        await asyncio.gather(*self._giving_back)
        await self._engine.dispose()
        await self._lookups.dispose()

    def _create_engine(self, pool_size: int, pool_wait_seconds: float) -> AsyncEngine:
        unprepared: dict[str, Any] = (
            {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: f"tk_{uuid4().hex}"}
            if self._is_behind_pooler
            else {}
        )
        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            poolclass=AsyncAdaptedQueuePool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_wait_seconds,
            pool_recycle=1800,
            pool_use_lifo=True,
            hide_parameters=True,
            connect_args=unprepared,
        )

    async def _connect(self, **_arguments: Any) -> asyncpg.Connection:
        with translate_connect_faults():
            cache: dict[str, Any] = {"statement_cache_size": 0} if self._is_behind_pooler else {}
            connection: asyncpg.Connection = await asyncpg.connect(self._url, timeout=CONNECT_SECONDS, **cache)
            # The driver's own UUID is a subclass, which orjson refuses: ids that leave here are plain ones.
            await connection.set_type_codec(
                "uuid",
                schema="pg_catalog",
                encoder=lambda value: value.bytes if isinstance(value, UUID) else UUID(value).bytes,
                decoder=lambda value: UUID(bytes=value),
                format="binary",
            )
            return connection

    @asynccontextmanager
    async def _transaction(
        self, engine: AsyncEngine, role: str, tenant_id: UUID | None = None, *, statement_ms: int = STATEMENT_MS
    ) -> AsyncIterator[AsyncSession]:
        with translate_faults():
            async with AsyncSession(engine, expire_on_commit=False, info=dict(self._session_info)) as session:
                await _begin_retrying(session, role, tenant_id, statement_ms)
                yield session
                await session.commit()
        for hook in session.info.get(_AFTER_COMMIT, ()):
            await hook()

    @asynccontextmanager
    async def _lookup_connection(self) -> AsyncIterator[AsyncConnection]:
        """Opening goes on past the deadline of who asked first, so that a slow network does not fail for ever."""
        opening = asyncio.ensure_future(self._open_lookup())
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        try:
            connection = await asyncio.shield(opening)
        except asyncio.CancelledError:
            if len(self._opening) > self._lookup_pool_size:
                # It would only wait for one of the others.
                opening.cancel()
            opening.add_done_callback(self._give_back)
            raise
        try:
            yield connection
        finally:
            await asyncio.shield(self._close_lookup(connection))

    async def _open_lookup(self) -> AsyncConnection:
        return await self._lookups.connect()

    def _give_back(self, opening: "asyncio.Future[AsyncConnection]") -> None:
        if opening.cancelled() or opening.exception() is not None:
            return
        self._close_lookup(opening.result())

    def _close_lookup(self, connection: AsyncConnection) -> "asyncio.Future[None]":
        """To the pool; held on to, because a caller that is cancelled meanwhile does not wait for it."""
        closing = asyncio.ensure_future(connection.close())
        self._giving_back.add(closing)
        closing.add_done_callback(self._giving_back.discard)
        return closing


async def driver_of(session: AsyncSession) -> asyncpg.Connection:
    """The driver's own connection in the session's transaction, for bulk writes beside its statements."""
    connection = await session.connection()
    raw = await connection.get_raw_connection()
    driver = raw.driver_connection
    assert isinstance(driver, asyncpg.Connection)
    return driver


def after_commit(session: AsyncSession, hook: Callable[[], Awaitable[None]]) -> None:
    """Run `hook` once the transaction is durable. It must not raise: the change is already made."""
    session.info.setdefault(_AFTER_COMMIT, []).append(hook)


def plain_url(url: str) -> str:
    """The address as the driver reads it; also takes SQLAlchemy's spelling."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql{separator}{rest}" if scheme.startswith("postgres") else url


async def _begin(session: AsyncSession, role: str, tenant_id: UUID | None, statement_ms: int) -> None:
    await session.execute(
        _BEGIN,
        {
            "role": role,
            "tenant": "" if tenant_id is None else str(tenant_id),
            "statement": str(statement_ms),
            "lock": str(LOCK_MS),
        },
    )


async def _begin_retrying(session: AsyncSession, role: str, tenant_id: UUID | None, statement_ms: int) -> None:
    """A pooled connection may be from before a restart of the server; SQLAlchemy then drops the whole pool."""
    try:
        await _begin(session, role, tenant_id, statement_ms)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        await session.rollback()
        await _begin(session, role, tenant_id, statement_ms)
