"""Who is told of what is new: the streams of this worker, and over Redis those of every other.

A message names whose calls were written, never what they were: who is told asks the list, which decides what they see.
Failure policy: Redis away: streams of other workers hear nothing; the console asks by itself every few seconds.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

import orjson

from tollkeeper.core.errors import RateLimited

Topic = Literal["requests"]
# Of calls: the tenant, and whose key it was.
Whose = tuple[UUID, UUID | None]

CHANNEL: Final = "tollkeeper:events"
MOST_STREAMS: Final = 200
MOST_STREAMS_OF_A_PERSON: Final = 6
_MOST_NAMED: Final = 500
_AT_MOST_EACH_SECONDS: Final = 1.0
_COMMENT_SECONDS: Final = 5.0


@dataclass(eq=False, slots=True)
class Follower:
    """One open stream. `tenant_id` None: of every tenant. `owner_id`: of the calls of this person's keys alone."""

    topics: frozenset[Topic]
    person_id: UUID
    tenant_id: UUID | None
    owner_id: UUID | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _pending: set[Topic] = field(default_factory=set)

    def hear(self, topic: Topic, whose: Iterable[Whose]) -> None:
        if topic in self.topics and any(self._follows(*one) for one in whose):
            self._pending.add(topic)
            self.changed.set()

    def take(self) -> list[Topic]:
        self.changed.clear()
        taken = sorted(self._pending)
        self._pending.clear()
        return taken

    def _follows(self, tenant_id: UUID, user_id: UUID | None) -> bool:
        return self.tenant_id in {None, tenant_id} and self.owner_id in {None, user_id}


class Feed:
    """`send` publishes to the other workers; it never waits and may lose what it is given."""

    def __init__(self, send: Callable[[bytes], None] | None = None) -> None:
        self._send = send
        self._followers: set[Follower] = set()

    def tell(self, topic: Topic, whose: Iterable[Whose]) -> None:
        distinct = list(dict.fromkeys(whose))
        if not distinct:
            return
        self._hear(topic, distinct)
        if self._send is not None:
            for start in range(0, len(distinct), _MOST_NAMED):
                self._send(orjson.dumps([topic, distinct[start : start + _MOST_NAMED]]))

    def hear(self, message: bytes) -> None:
        """What another worker published, or we did: hearing it twice is harmless. A newer version's words are passed over."""
        with suppress(ValueError, TypeError):
            topic, named = orjson.loads(message)
            if topic == "requests":
                self._hear("requests", [(UUID(tenant), None if user is None else UUID(user)) for tenant, user in named])

    def _hear(self, topic: Topic, whose: list[Whose]) -> None:
        for follower in self._followers:
            follower.hear(topic, whose)

    @contextmanager
    def following(self, follower: Follower) -> Iterator[Follower]:
        """Raises `RateLimited` for a stream too many, of this worker or of the person."""
        own = sum(other.person_id == follower.person_id for other in self._followers)
        if own >= MOST_STREAMS_OF_A_PERSON or len(self._followers) >= MOST_STREAMS:
            raise RateLimited("Too many streams are open; close a tab of the console, or ask again later.")
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    @property
    def open_streams(self) -> int:
        return len(self._followers)


async def read(feed: Feed, follower: Follower, *, seconds: float) -> AsyncIterator[bytes]:
    """The stream as it is sent. It ends after `seconds`: the next one proves again who listens."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    with feed.following(follower):
        yield b"retry: 1000\n: streams end by themselves; ask again\n\n"
        while (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(_COMMENT_SECONDS, left)):
                    await follower.changed.wait()
            except TimeoutError:
                # Keeps proxies from closing what is silent, and finds out who left.
                yield b": here\n\n"
                continue
            for topic in follower.take():
                yield f"event: {topic}\ndata: {{}}\n\n".encode()
            await asyncio.sleep(min(_AT_MOST_EACH_SECONDS, max(0.0, end - loop.time())))
