"""Telling every worker of a change at once, over PostgreSQL NOTIFY and Redis PUBLISH: each covers the other's outage.

`announce` speaks inside the transaction that makes the change, `Listener` hears. An announcement says that something
changed, never what: who hears one forgets, and reads again when it needs to. Hearing one twice is harmless.
"""

import asyncio
import random
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from tollkeeper.core.ids import uuid7

log = structlog.get_logger(__name__)

CHANNEL: Final = "tollkeeper"
# Where a session carries its `Publisher`, if it has one.
PUBLISHER: Final = "announcements.publisher"
BEAT_SECONDS: Final = 0.3
SILENCE_SECONDS: Final = 0.9

_PENDING: Final = "announcements.pending"
_CONNECT_SECONDS: Final = 3.0
_PROBE_SECONDS: Final = 1.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5
_TRIES: Final = 3
_RETRY_SECONDS: Final = 0.1
_REMEMBERED: Final = 10_000
_ANNOUNCE: Final = text("""
    WITH noted AS (
        INSERT INTO announcements (id, kind, subject, created_at) VALUES (:id, :kind, :subject, clock_timestamp())
    )
    SELECT pg_notify(:channel, :message)
""")
# The overlap lets slow commits in; what was heard already is told apart by its id.
_RECENT: Final = "SELECT id, kind, subject FROM announcements WHERE created_at > now() - interval '60 seconds'"
_POSTGRES_FAULTS: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
_REDIS_FAULTS: Final = (OSError, TimeoutError, RedisError)


class Topic(StrEnum):
    """What kind of object changed; the subject is its id."""

    KEY = "key"
    TENANT = "tenant"
    USER = "user"
    CATALOG = "catalog"
    # Limits or budgets: of a key, or of many keys of a user or a tenant; the zero UUID stands for every tenant.
    RULES = "rules"
    # Every worker is to tell Redis what it holds of a tenant (`gateway/money/counters`).
    COUNTERS = "counters"
    # Every worker is to forget the troubles of some targets; the subject says of which (`gateway/routing/targets`).
    TARGETS = "targets"


@dataclass(frozen=True, slots=True)
class Announcement:
    id: UUID
    topic: Topic
    subject: UUID

    def __str__(self) -> str:
        return f"{self.id.hex} {self.topic} {self.subject.hex}"

    @classmethod
    def parse(cls, message: str) -> "Announcement":
        """Raises ValueError, also for a topic that a newer version has and this one does not."""
        identity, topic, subject = message.split(" ")
        return cls(UUID(identity), Topic(topic), UUID(subject))


async def announce(session: AsyncSession, topic: Topic, subject: UUID) -> None:
    """Tell every worker, if and only if the session's transaction commits."""
    announcement = Announcement(uuid7(), topic, subject)
    await session.execute(
        _ANNOUNCE,
        {
            "id": announcement.id,
            "kind": topic.value,
            "subject": subject,
            "channel": CHANNEL,
            "message": str(announcement),
        },
    )
    if PUBLISHER not in session.info:
        return
    if _PENDING not in session.info:
        session.info[_PENDING] = []
        event.listen(session.sync_session, "after_commit", _publish_pending)
    session.info[_PENDING].append(announcement)


def _publish_pending(session: Session) -> None:
    if session.in_nested_transaction():
        return  # A savepoint; the change is not made yet.
    pending: list[Announcement] = session.info[_PENDING]
    for announcement in pending:
        session.info[PUBLISHER].publish_soon(announcement)
    pending.clear()


class Publisher:
    """The Redis half: publishes in the background, in order, on one connection. Redis down: NOTIFY alone must do."""

    def __init__(self, redis: "Redis") -> None:
        """Takes the client over: `close` closes it."""
        self._redis = redis
        self._waiting: deque[Announcement] = deque()
        self._pump: asyncio.Task[None] | None = None

    def publish_soon(self, announcement: Announcement) -> None:
        self._waiting.append(announcement)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._publish(), name="announcements-publish")

    async def close(self) -> None:
        if self._pump is not None:
            await self._pump
        await self._redis.aclose()

    async def _publish(self) -> None:
        while self._waiting:
            batch = [str(self._waiting.popleft()) for _ in range(min(len(self._waiting), 100))]
            if not await self._tell(batch):
                log.warning("announcements_not_published", count=len(batch))

    async def _tell(self, batch: list[str]) -> bool:
        """A few tries: a late answer must not cost the worker whose other channel is down its second."""
        for _ in range(_TRIES):
            pipeline = self._redis.pipeline(transaction=False)
            for message in batch:
                pipeline.publish(CHANNEL, message)
            try:
                await pipeline.execute()
            except _REDIS_FAULTS:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return True
        return False


@dataclass(frozen=True, slots=True)
class ChannelState:
    """`silent_seconds` since the channel last proved itself; None when it never has."""

    is_connected: bool
    silent_seconds: float | None
    problem: str | None
    is_polling: bool = False


@dataclass(frozen=True, slots=True)
class ListenerState:
    """`is_cut_off`: neither channel has proved itself of late, so a revocation may not be heard."""

    is_cut_off: bool
    postgres: ChannelState
    redis: ChannelState


class _Channel:
    """What is known of one of the two ways."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_connected = False
        self.is_polling = False
        self.seen_at: float | None = None
        self.problem: str | None = "not connected yet"
        # Set once the first attempt has ended, well or not.
        self.tried = asyncio.Event()

    def came(self) -> None:
        if self.problem is not None:
            log.info("announcements_heard", channel=self.name, is_polling=self.is_polling)
        self.is_connected, self.problem = True, None
        self.seen()
        self.tried.set()

    def seen(self) -> None:
        self.seen_at = time.monotonic()

    def went(self, error: BaseException) -> None:
        problem = type(error).__name__
        if problem != self.problem:
            log.warning("announcements_not_heard", channel=self.name, error=problem)
        self.is_connected, self.problem = False, problem
        self.tried.set()

    def state(self) -> ChannelState:
        silent = None if self.seen_at is None else time.monotonic() - self.seen_at
        return ChannelState(self.is_connected, silent, self.problem, self.is_polling)

    @property
    def is_alive(self) -> bool:
        return self.is_connected and self.seen_at is not None and time.monotonic() - self.seen_at <= SILENCE_SECONDS


class Listener:
    """Hears announcements on both channels for as long as it runs, reconnecting to whichever is lost.

    `on_resync` is called after each (re)connection of either: announcements may have been missed. Both callbacks run
    on the event loop and must not raise.
    """

    def __init__(
        self,
        database_url: str,
        redis: "Redis",
        *,
        on_announcement: Callable[[Announcement], None],
        on_resync: Callable[[], None],
        beat_seconds: float = BEAT_SECONDS,
        on_message: Mapping[str, Callable[[bytes], None]] | None = None,
    ) -> None:
        """`redis` is a client of our own without a deadline for reading; `close` closes it.

        `on_message`: other channels of Redis to hear on the same connection, and who gets their bytes.
        """
        self._url = database_url
        self._redis_client = redis
        self._on_announcement = on_announcement
        self._on_resync = on_resync
        self._beat_seconds = beat_seconds
        self._on_message = {name.encode(): hear for name, hear in (on_message or {}).items()}
        self._postgres = _Channel("postgres")
        self._redis = _Channel("redis")
        self._heard: OrderedDict[UUID, None] = OrderedDict()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns once both channels were tried. Never raises for one that is away."""
        for channel, listen in ((self._postgres, self._listen_postgres), (self._redis, self._listen_redis)):
            task = asyncio.create_task(self._keep(channel, listen), name=f"announcements-{channel.name}")
            task.add_done_callback(_report_end)
            self._tasks.append(task)
        await asyncio.gather(self._postgres.tried.wait(), self._redis.tried.wait())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis_client.aclose()

    def state(self) -> ListenerState:
        is_cut_off = not (self._postgres.is_alive or self._redis.is_alive)
        return ListenerState(is_cut_off, self._postgres.state(), self._redis.state())

    async def _keep(self, channel: _Channel, listen: Callable[[], Awaitable[None]]) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await listen()
            except (*_POSTGRES_FAULTS, *_REDIS_FAULTS) as error:
                pause = _FIRST_PAUSE if channel.is_connected else min(_LONGEST_PAUSE, pause * 2)
                channel.went(error)
            # Jittered: a server that comes back is not met by all its workers at once.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing

    async def _listen_postgres(self) -> None:
        """Ends with the error that ended the connection."""
        connection = await _connect(self._url)
        try:
            probe = f"tollkeeper_{uuid4().hex}"
            heard = asyncio.Event()
            await connection.add_listener(CHANNEL, self._hear_postgres)
            await connection.add_listener(probe, lambda *_: heard.set())
            self._postgres.is_polling = not await self._is_heard(probe, heard)
            await connection.execute(f"UNLISTEN {probe}")
            self._postgres.came()
            self._on_resync()
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):
                    if self._postgres.is_polling:
                        await self._poll(connection)
                    else:
                        await connection.execute("SELECT 1")
                self._postgres.seen()
                await asyncio.sleep(self._beat_seconds)
        finally:
            connection.terminate()

    async def _is_heard(self, probe: str, heard: asyncio.Event) -> bool:
        """Whether NOTIFY of another connection arrives; behind a pooler in transaction mode it does not."""
        other = await _connect(self._url)
        try:
            await other.execute(f"NOTIFY {probe}")
        finally:
            other.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PROBE_SECONDS):
                await heard.wait()
        return heard.is_set()

    async def _poll(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        async with connection.transaction():
            await connection.execute("SELECT set_config('role', 'tk_lookup', true)")
            rows = await connection.fetch(_RECENT)
        for row in rows:
            self._hear(f"{row['id'].hex} {row['kind']} {row['subject'].hex}")

    async def _listen_redis(self) -> None:
        """Ends with the error that ended the connection."""
        pubsub: Any = self._redis_client.pubsub()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await pubsub.subscribe(CHANNEL, *self._on_message)
            asked_at = time.monotonic()
            while True:
                if not self._redis.is_connected and time.monotonic() - asked_at > SILENCE_SECONDS:
                    raise TimeoutError
                if self._redis.is_connected:
                    async with asyncio.timeout(SILENCE_SECONDS):
                        await pubsub.ping()
                await self._hear_redis(pubsub, until=time.monotonic() + self._beat_seconds)
                if self._redis.is_connected and not self._redis.is_alive:
                    raise TimeoutError
        finally:
            await pubsub.aclose()

    async def _hear_redis(self, pubsub: Any, *, until: float) -> None:
        """Take what arrives up to the next beat."""
        while (left := until - time.monotonic()) > 0:
            message = await pubsub.get_message(timeout=left)
            if message is None:
                continue
            if (hear := self._on_message.get(message["channel"])) is not None:
                if message["type"] == "message":
                    hear(message["data"])
            elif message["type"] == "subscribe":
                # The client subscribes anew by itself should it ever reconnect by itself.
                self._redis.came()
                self._on_resync()
            elif message["type"] == "message":
                self._hear(message["data"].decode(errors="replace"))
            self._redis.seen()

    def _hear_postgres(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        self._postgres.seen()
        self._hear(str(payload))

    def _hear(self, message: str) -> None:
        try:
            announcement = Announcement.parse(message)
        except ValueError:
            # Of a newer version during an upgrade, or not ours: something changed, so look again.
            log.warning("announcement_not_understood")
            self._on_resync()
            return
        if announcement.id in self._heard:
            return
        self._heard[announcement.id] = None
        if len(self._heard) > _REMEMBERED:
            self._heard.popitem(last=False)
        self._on_announcement(announcement)


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Nothing is prepared: through a pooler the next statement may run elsewhere."""
    _, _, address = url.partition("://")
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
        f"postgresql://{address}", timeout=_CONNECT_SECONDS, statement_cache_size=0
    )
    return connection


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.error("announcements_ended", task=task.get_name(), exc_info=task.exception())
