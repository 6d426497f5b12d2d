"""How hints about targets travel between workers: published over Redis, what is worth knowing later kept there.

That is the roll-back of a canary for a week, and which breakers are open until they are not. Nothing waits but who asks
whether to probe: a message is written to the connection that is there, and its answer is looked at when it comes.
Failure policy: Redis away: no hints, each worker judges by its own calls and probes alone.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

import hiredis

from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.core.resp import Command, pack

CHANNEL: Final = "tollkeeper:hints"
# Until a canary that was rolled back is tried again by workers that did not hear of it.
KEPT_SECONDS: Final = 7 * 86_400
# Breakers that are open somewhere, by when their open time ends; the first of them go when there are more.
MOST_OPEN: Final = 256
_OPEN: Final = b"tk:breakers"
_OPEN_SECONDS: Final = 120


class HintLine:
    """`hear` gets what comes back from `recall`; what others publish comes through the announcements' listener.

    `hear_open` gets what comes back from `recall_open`, all at once, each with the seconds that are left of it.
    """

    def __init__(self, link: RedisLink, wall: Callable[[], float] = time.time) -> None:
        """`wall`: seconds that all workers count alike, or nearly so."""
        self._link = link
        self._wall = wall
        self.hear: Callable[[bytes], None] | None = None
        self.hear_open: Callable[[Sequence[tuple[bytes, float]]], None] | None = None

    def tell(self, message: bytes) -> None:
        self._send(("PUBLISH", CHANNEL, message))

    def tell_open(self, message: bytes, name: bytes, seconds: float) -> None:
        """Tell of an open breaker, also those who start before its time is over. `name`: the same each time."""
        now = self._wall()
        self._send(
            ("ZADD", _OPEN, f"{now + seconds:.3f}", name),
            ("ZREMRANGEBYSCORE", _OPEN, "-inf", f"{now:.3f}"),
            ("ZREMRANGEBYRANK", _OPEN, 0, -MOST_OPEN - 1),
            ("EXPIRE", _OPEN, _OPEN_SECONDS),
            key=_OPEN,
        )
        self.tell(message)

    def forget_open(self, name: bytes) -> None:
        self._send(("ZREM", _OPEN, name), key=_OPEN)

    def recall_open(self) -> None:
        """`hear_open` is told soon which breakers of others are open."""
        span = (f"({self._wall():.3f}", "+inf", "WITHSCORES", "LIMIT", 0, MOST_OPEN)
        self._send(("ZRANGEBYSCORE", _OPEN, *span), key=_OPEN, tell=self._recalled_open)

    async def may_probe(self, provider: str, seconds: float) -> bool:
        """Whether no other worker probed it within these seconds; whoever asks first is let, without Redis everybody."""
        digest = sha256(provider.encode()).hexdigest()[:32]
        try:
            reply = await self._link.call("SET", f"tk:probe:{digest}", "1", "NX", "PX", max(int(seconds * 1000), 1))
        except (RedisUnavailable, hiredis.ReplyError):
            return True
        return reply is not None

    def keep(self, canary: str, message: bytes) -> None:
        """Tell of a roll-back, also those who start later."""
        key = _key(canary)
        self._send(("SET", key, message, "EX", KEPT_SECONDS), ("PUBLISH", CHANNEL, message), key=key)

    def recall(self, canary: str) -> None:
        """If it was rolled back before our time, `hear` is told soon."""
        self._send(("GET", _key(canary)), key=_key(canary), tell=self._recalled)

    def forget(self, canary: str) -> None:
        self._send(("DEL", _key(canary)), key=_key(canary))

    def _recalled(self, replies: list[Any] | None) -> None:
        if replies is not None and isinstance(replies[0], bytes) and self.hear is not None:
            self.hear(replies[0])

    def _recalled_open(self, replies: list[Any] | None) -> None:
        found = None if replies is None else replies[0]
        if not isinstance(found, list) or self.hear_open is None:
            return
        now = self._wall()
        self.hear_open([(name, float(until) - now) for name, until in zip(found[::2], found[1::2], strict=True)])

    def _send(
        self, *commands: Command, key: bytes | None = None, tell: Callable[[list[Any] | None], None] | None = None
    ) -> None:
        with suppress(RedisUnavailable):
            self._link.ask(b"".join(pack(command) for command in commands), len(commands), tell or _ignore, key)


def _key(canary: str) -> bytes:
    return b"tk:canary:" + sha256(canary.encode()).hexdigest()[:32].encode()


def _ignore(_replies: list[Any] | None) -> None:
    """A lost hint is a hint less."""
