"""A Redis Cluster behind the same words as one Redis: each command goes to the node that has its key's slot.

Every node is a `RedisLink` of its own, with its deadline and breaker, so one that is gone takes only its slots along. Where
slots lie is read from the nodes (`CLUSTER SLOTS`) at the start, when one says that a slot has moved, and now and then.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import hiredis
import structlog
from redis.crc import key_slot

from tollkeeper.core.clock import Clock
from tollkeeper.core.redis import (
    CLUSTER,
    CONNECT_SECONDS,
    OPERATION_SECONDS,
    Question,
    RedisLink,
    RedisState,
    RedisUnavailable,
)
from tollkeeper.core.resp import DEFAULT_PORT, Command

log = structlog.get_logger(__name__)

SLOTS: Final = 16_384
# How often the map of slots is read: while a node is gone or slots have none, and otherwise.
TROUBLED_SECONDS: Final = 0.5
CALM_SECONDS: Final = 30.0
_KEYLESS: Final = frozenset({"PING", "INFO", "TIME", "SCAN", "MULTI", "EXEC", "CLUSTER", "PUBLISH", "DBSIZE"})
_SCRIPTS: Final = frozenset({"EVAL", "EVALSHA"})
Place = tuple[str, int]


def make_link(
    url: str,
    clock: Clock,
    *,
    connect_seconds: float = CONNECT_SECONDS,
    operation_seconds: float = OPERATION_SECONDS,
    on_connect: Callable[[str | None], None] | None = None,
) -> RedisLink:
    """To a cluster where the URL says `redis+cluster://` or `rediss+cluster://`, else to one server."""
    kind = ClusterLink if urlsplit(url).scheme.endswith(CLUSTER) else RedisLink
    return kind(url, clock, connect_seconds=connect_seconds, operation_seconds=operation_seconds, on_connect=on_connect)


class ClusterLink(RedisLink):
    is_cluster = True

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        operation_seconds: float = OPERATION_SECONDS,
        on_connect: Callable[[str | None], None] | None = None,
    ) -> None:
        super().__init__(
            seeds_of(url)[0],
            clock,
            connect_seconds=connect_seconds,
            operation_seconds=operation_seconds,
            on_connect=on_connect,
        )
        self._seeds = seeds_of(url)
        self._nodes: dict[Place, RedisLink] = {}
        self._slots: list[RedisLink | None] = [None] * SLOTS
        self._refreshing: asyncio.Task[None] | None = None
        self._has_moved = asyncio.Event()

    @property
    def is_available(self) -> bool:
        return any(node.is_available for node in self._nodes.values())

    def run_id_at(self, key: bytes) -> str | None:
        node = self._slots[key_slot(key)]
        return None if node is None else node.run_id

    def state(self) -> RedisState:
        """Available while any node is; the problem names one that is not."""
        states = {place: node.state() for place, node in self._nodes.items()}
        problem = next((f"{place[0]}:{place[1]}: {one.problem}" for place, one in states.items() if one.problem), None)
        if not states:
            problem = "no node of the cluster answers"
        since = max((one.since for one in states.values()), default=self._clock.monotonic())
        trips = sum(one.trips for one in states.values())
        return RedisState(self.is_available, since, problem, None, trips)

    async def start(self) -> None:
        with suppress(RedisUnavailable):
            await self._read_map()
        self._refreshing = asyncio.get_running_loop().create_task(self._refresh(), name="redis-slots")

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await self._refreshing
            self._refreshing = None
        for node in self._nodes.values():
            await node.close()
        self._nodes.clear()
        self._slots = [None] * SLOTS

    def node(self, key: bytes) -> RedisLink:
        found = self._slots[key_slot(key)]
        if found is None:
            raise RedisUnavailable("No node of the cluster has this slot.")
        return found

    async def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Commands without a key go where the others do. Those of several nodes are not one round trip."""
        keys = [key_of(command) for command in commands]
        known = [key for key in keys if key is not None]
        home = self.node(known[0]) if known else self._any()
        nodes = [home if key is None else self.node(key) for key in keys]
        replies: list[Any] = [None] * len(commands)

        async def ask(node: RedisLink) -> None:
            places = [place for place, one in enumerate(nodes) if one is node]
            told = await node.call_many([commands[place] for place in places])
            for place, reply in zip(places, told, strict=True):
                replies[place] = reply

        distinct = list(dict.fromkeys(nodes))
        if len(distinct) == 1:
            replies = await home.call_many(commands)
        else:
            await asyncio.gather(*(ask(node) for node in distinct))
        for place, reply in enumerate(replies):
            if isinstance(reply, hiredis.ReplyError):
                replies[place] = await self._follow(commands[place], reply)
        return replies

    async def scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        for node in list(self._nodes.values()):
            async for keys in node.scan(pattern):
                yield keys

    def ask(
        self, packed: bytes, count: int, tell: Callable[[list[Any] | None], None], key: bytes | None = None
    ) -> Question:
        return (self._any() if key is None else self.node(key)).ask(packed, count, tell)

    def trip(self, problem: str) -> None:
        """Nodes have breakers of their own."""
        log.warning("redis_cluster_refused", problem=problem)

    def moves(self, problem: str) -> bool:
        word, _, rest = problem.partition(" ")
        if word != "MOVED":
            return False
        slot, _, address = rest.partition(" ")
        before = self._slots[int(slot)]
        found = self._nodes.get(_place(address))
        # The rest of the map is read anew as well: slots seldom move alone.
        self._has_moved.set()
        if found is None or found is before:
            return False
        self._slots[int(slot)] = found
        return True

    async def _follow(self, command: Command, refusal: hiredis.ReplyError) -> Any:
        """To where the slot is now, or for the moment; once."""
        problem = str(refusal)
        if problem.startswith("MOVED "):
            if not self.moves(problem):
                await self._read_map()
            key = key_of(command)
            return refusal if key is None else (await self.node(key).call_many((command,)))[0]
        if problem.startswith("ASK "):
            node = self._nodes.get(_place(problem.rpartition(" ")[2]))
            return refusal if node is None else (await node.call_many((("ASKING",), command)))[1]
        return refusal

    def _any(self) -> RedisLink:
        for node in self._nodes.values():
            if node.is_available:
                return node
        raise RedisUnavailable("No node of the cluster is available.")

    async def _refresh(self) -> None:
        """Never returns; cancel it."""
        while True:
            is_calm = None not in self._slots and all(node.is_available for node in self._nodes.values())
            with suppress(TimeoutError):
                async with asyncio.timeout(CALM_SECONDS if is_calm else TROUBLED_SECONDS):
                    await self._has_moved.wait()
            self._has_moved.clear()
            with suppress(RedisUnavailable, hiredis.ReplyError):
                await self._read_map()

    async def _read_map(self) -> None:
        """From whichever node answers first. Raises `RedisUnavailable`."""
        for node in self._nodes.values():
            if node.is_available:
                with suppress(RedisUnavailable):
                    await self._take(await node.call("CLUSTER", "SLOTS"), node.host)
                    return
        for seed in self._seeds:
            link = self._link(seed, None)
            await link.start()
            try:
                await self._take(await link.call("CLUSTER", "SLOTS"), link.host)
            except (RedisUnavailable, hiredis.ReplyError) as error:
                log.debug("redis_seed_refused", problem=str(error))
            else:
                return
            finally:
                await link.close()
        raise RedisUnavailable("No node of the cluster answers.")

    async def _take(self, ranges: Sequence[Any], asked: str) -> None:
        owners: list[tuple[int, int, Place]] = []
        for first, last, (host, port, *_), *_replicas in ranges:
            # A node that does not know its own name leaves it empty: it is where we asked.
            owners.append((int(first), int(last), (host.decode() if host else asked, int(port))))
        places = {place for _, _, place in owners}
        for place in places - self._nodes.keys():
            node = self._nodes[place] = self._link(self._url_of(place), self._connected)
            await node.start()
        slots: list[RedisLink | None] = [None] * SLOTS
        for first, last, place in owners:
            slots[first : last + 1] = [self._nodes[place]] * (last - first + 1)
        self._slots = slots
        for place in self._nodes.keys() - places:
            await self._nodes.pop(place).close()

    def _link(self, url: str, on_connect: Callable[[str | None], None] | None) -> RedisLink:
        return RedisLink(
            url,
            self._clock,
            connect_seconds=self._connect_seconds,
            operation_seconds=self._operation_seconds,
            on_connect=on_connect,
        )

    def _connected(self, run_id: str | None) -> None:
        if self.on_connect is not None:
            self.on_connect(run_id)

    def _url_of(self, place: Place) -> str:
        parts = urlsplit(self._seeds[0])
        credentials, at, _ = parts.netloc.rpartition("@")
        host = f"[{place[0]}]" if ":" in place[0] else place[0]
        return urlunsplit((parts.scheme, f"{credentials}{at}{host}:{place[1]}", "", parts.query, ""))


def seeds_of(url: str) -> list[str]:
    """`redis+cluster://user:secret@one:6379,two:6379?…` as one URL for each node it names."""
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    scheme = parts.scheme.removesuffix(CLUSTER)
    return [
        urlunsplit((scheme, f"{credentials}{at}{host.strip()}", "", parts.query, ""))
        for host in hosts.split(",")
        if host
    ]


def key_of(command: Command) -> bytes | None:
    name = command[0]
    word = (name.decode() if isinstance(name, bytes) else str(name)).upper()
    if word in _SCRIPTS:
        key = command[3] if int(command[2]) else None
    else:
        key = None if word in _KEYLESS or len(command) == 1 else command[1]
    if key is None:
        return None
    return key if isinstance(key, bytes) else str(key).encode()


def _place(address: str) -> Place:
    host, _, port = address.rpartition(":")
    return host, int(port or DEFAULT_PORT)
