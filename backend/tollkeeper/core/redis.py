"""Redis with deadlines: a breaker in front of one pipelined connection, and redis-py for everything that is not hot.

`RedisLink` is what the request path uses: an operation takes at most `operation_seconds`, the first one that does not
opens the breaker, and from then on callers are told at once while a task in the background tries to come back.
`create_client` makes a redis-py client with the same deadlines for publishing, subscribing and caches. A cluster has the
same words: `redis_cluster`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import hiredis
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.resp import Command, ConnectionLost, RespConnection, open_connection, pack, parse_url

log = structlog.get_logger(__name__)

CONNECT_SECONDS: Final = 0.1
OPERATION_SECONDS: Final = 0.05
PROBE_SECONDS: Final = 0.1
MAX_PROBE_SECONDS: Final = 1.0
# A connection that held this long was a good one.
STABLE_SECONDS: Final = 5.0
# After the deadline one more look at the socket: a reply may lie there because this process was late, not Redis.
GRACE_SECONDS: Final = 0.003
# Behind the scheme of a cluster's URL.
CLUSTER: Final = "+cluster"
_SCANNED: Final = 1_000


class RedisUnavailable(DependencyUnavailable):
    """Redis is gone, or did not answer in time. Callers fall back to their declared degraded mode."""


@dataclass(frozen=True, slots=True)
class RedisState:
    """For readiness and metrics. `since` is on the monotonic clock."""

    is_available: bool
    since: float
    problem: str | None
    run_id: str | None
    trips: int


class Question:
    """What was asked and has a deadline. `tell` is called once: with the replies, or with None when there are none."""

    __slots__ = ("asked_at", "connection", "is_over", "tell")

    def __init__(self, connection: RespConnection, asked_at: float, tell: Callable[[list[Any] | None], None]) -> None:
        self.connection = connection
        self.asked_at = asked_at
        self.tell = tell
        self.is_over = False

    def __call__(self, outcome: list[Any] | ConnectionLost) -> None:
        if not self.is_over:
            self.is_over = True
            self.tell(None if isinstance(outcome, ConnectionLost) else outcome)


class RedisLink:
    """`start` and `close` frame its life; between them `call` answers, or raises `RedisUnavailable` at once."""

    # Whether keys lie on several servers (`redis_cluster`).
    is_cluster = False

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        operation_seconds: float = OPERATION_SECONDS,
        on_connect: Callable[[str | None], None] | None = None,
    ) -> None:
        """`on_connect` gets the server's run_id at each connection: another one means that counters may be gone."""
        self._address = parse_url(url)
        self._clock = clock
        self._connect_seconds = connect_seconds
        self._operation_seconds = operation_seconds
        self.on_connect = on_connect
        self._connection: RespConnection | None = None
        self._probing: asyncio.Task[None] | None = None
        self._is_closed = True
        self._problem: str | None = "not connected yet"
        self._run_id: str | None = None
        self._since = clock.monotonic()
        self._trips = 0
        self._pause = PROBE_SECONDS
        # In the order of their deadlines, which one timer watches over: a timer each would cost more than the asking.
        self._questions: deque[Question] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_available(self) -> bool:
        return self._connection is not None

    @property
    def run_id(self) -> str | None:
        """Of the server we are, or were last, connected to."""
        return self._run_id

    @property
    def host(self) -> str:
        return self._address.host

    def run_id_at(self, key: bytes) -> str | None:  # noqa: ARG002 - of a cluster it matters
        """Of the server that has this key."""
        return self._run_id

    def node(self, key: bytes) -> "RedisLink":  # noqa: ARG002 - as above
        """To the server that has this key. Raises `RedisUnavailable` where none is known."""
        return self

    def moves(self, problem: str) -> bool:  # noqa: ARG002 - as above
        """Whether a server's refusal says that the key lies elsewhere, and where is known now: to be asked again."""
        return False

    def state(self) -> RedisState:
        return RedisState(self.is_available, self._since, self._problem, self._run_id, self._trips)

    async def start(self) -> None:
        """Connect, or go on trying in the background. Never raises for a Redis that is away."""
        self._is_closed = False
        try:
            await self._connect()
        except (OSError, ConnectionLost) as error:
            self._down(error)

    async def close(self) -> None:
        self._is_closed = True
        if self._probing is not None:
            self._probing.cancel()
            with suppress(asyncio.CancelledError):
                await self._probing
            self._probing = None
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._questions.clear()

    async def call(self, *command: bytes | str | int) -> Any:
        """One command, its reply. Raises `hiredis.ReplyError` for an error of the server."""
        reply = (await self.call_many((command,)))[0]
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    async def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Several commands in one round trip; an error of the server is a `hiredis.ReplyError` in its place.

        Raises `RedisUnavailable`: nothing is known then about what was done. A caller that is cancelled leaves the
        connection in step.
        """
        done: asyncio.Future[list[Any] | None] = asyncio.get_running_loop().create_future()

        def tell(replies: list[Any] | None) -> None:
            if not done.done():
                done.set_result(replies)

        question = self.ask(b"".join([pack(command) for command in commands]), len(commands), tell)
        try:
            replies = await done
        finally:
            # Of a caller that was cancelled nobody waits any more; whether Redis stalls is for the next one to find out.
            question.is_over = True
        if replies is None:
            raise RedisUnavailable("Redis did not answer in time.")
        return replies

    async def scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """The keys of a pattern, piece by piece; one may come twice. Raises `RedisUnavailable`."""
        cursor = b"0"
        while True:
            cursor, keys = await self.call("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED)
            yield keys
            if cursor == b"0":
                return

    def ask(
        self,
        packed: bytes,
        count: int,
        tell: Callable[[list[Any] | None], None],
        key: bytes | None = None,  # noqa: ARG002 - as above
    ) -> Question:
        """The same without waiting: `count` commands in one write, and `tell` is called with the replies, or with None.

        `key`: one that they are about; None: any server will do.
        Raises `RedisUnavailable` at once while the breaker is open; `tell` is not called then.
        """
        connection = self._connection
        if connection is None:
            raise RedisUnavailable("Redis is not available.")
        loop = asyncio.get_running_loop()
        question = Question(connection, loop.time(), tell)
        try:
            connection.write(packed, count, question)
        except ConnectionLost as error:
            raise RedisUnavailable("Redis is not available.") from error
        self._questions.append(question)
        if self._timer is None:
            self._timer = loop.call_later(self._operation_seconds, self._look)
        return question

    def trip(self, problem: str) -> None:
        """Open the breaker: the server answers, but not usefully (loading, read-only, out of memory)."""
        if self._connection is not None:
            self._problem = problem
            self._connection.abort()
            self._lost(self._connection)

    def _look(self) -> None:
        """The oldest question that is open decides: it is late, or the timer waits for it."""
        questions = self._questions
        while questions and questions[0].is_over:
            questions.popleft()
        self._timer = None
        if not questions:
            return
        loop = asyncio.get_running_loop()
        wait_seconds = questions[0].asked_at + self._operation_seconds - loop.time()
        if wait_seconds > 0:
            self._timer = loop.call_later(wait_seconds, self._look)
        else:
            self._timer = loop.call_later(GRACE_SECONDS, self._give_up, questions[0])

    def _give_up(self, question: Question) -> None:
        if not question.is_over:
            if question.connection is self._connection:
                self.trip("no answer in time")
            question(ConnectionLost("no answer in time"))
        self._look()

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._connect_seconds):
                connection = await open_connection(self._address, self._lost)
                try:
                    # A server that is loading its data accepts connections and refuses everything else.
                    pong, info = await connection.send((("PING",), ("INFO", "server")))
                except BaseException:
                    connection.abort()
                    raise
        except TimeoutError as error:
            raise ConnectionLost("no connection in time") from error
        if isinstance(pong, hiredis.ReplyError):
            connection.abort()
            raise ConnectionLost(str(pong))
        if not connection.is_open:
            raise ConnectionLost("the connection ended at once")
        self._run_id = _run_id(info)
        self._connection = connection
        if self._problem is not None:
            log.info("redis_available", seconds=round(self._clock.monotonic() - self._since, 3))
        self._problem = None
        self._since = self._clock.monotonic()
        if self.on_connect is not None:
            self.on_connect(self._run_id)

    def _lost(self, connection: RespConnection) -> None:
        if connection is self._connection:
            self._connection = None
            self._trips += 1
            self._down(None)

    def _down(self, error: Exception | None) -> None:
        if self._is_closed:
            return
        now = self._clock.monotonic()
        # A server that takes connections and refuses the work is asked less and less often.
        self._pause = PROBE_SECONDS if now - self._since > STABLE_SECONDS else min(MAX_PROBE_SECONDS, self._pause * 2)
        self._since = now
        self._problem = (str(error) if error else self._problem) or "the connection ended"
        log.warning("redis_unavailable", problem=self._problem)
        if self._probing is None or self._probing.done():
            self._probing = asyncio.get_running_loop().create_task(self._probe(), name="redis-probe")

    async def _probe(self) -> None:
        """One try at a time, so a server that comes back is not met by a herd."""
        while self._connection is None:
            await asyncio.sleep(self._pause)
            try:
                await self._connect()
            except (OSError, ConnectionLost) as error:
                self._problem = str(error)
                self._pause = min(MAX_PROBE_SECONDS, self._pause * 2)


def create_client(
    url: str, *, connect_seconds: float = CONNECT_SECONDS, operation_seconds: float | None = OPERATION_SECONDS
) -> Redis:
    """A redis-py client with deadlines and without retries. For a subscription pass `operation_seconds=None`.

    Each command uses a connection alone; one whose command was cancelled is closed and never used again.
    """
    return Redis.from_url(
        one_of(url),
        socket_connect_timeout=connect_seconds,
        socket_timeout=operation_seconds,
        retry=Retry(NoBackoff(), 0),
    )


def one_of(url: str) -> str:
    """The URL of one server: of a cluster the first that is named, which passes on what is published to all others."""
    parts = urlsplit(url)
    if not parts.scheme.endswith(CLUSTER):
        return url
    return urlunsplit(
        (parts.scheme.removesuffix(CLUSTER), parts.netloc.split(",")[0], parts.path, parts.query, parts.fragment)
    )


def _run_id(info: Any) -> str | None:
    """None when the server's access rules keep INFO from us."""
    if isinstance(info, bytes):
        for line in info.split(b"\r\n"):
            if line.startswith(b"run_id:"):
                return line[7:].decode()
    return None
