"""How hints about targets travel between workers: published over Redis, the roll-back of a canary kept there for a while.

Nothing here waits: a message is written to the connection that is there, and its answer is looked at when it comes.
Failure policy: Redis away: no hints, each worker judges by its own calls alone.
"""

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.core.resp import Command, pack

CHANNEL: Final = "tollkeeper:hints"
# Until a canary that was rolled back is tried again by workers that did not hear of it.
KEPT_SECONDS: Final = 7 * 86_400


class HintLine:
    """`hear` gets what comes back from `recall`; what others publish comes through the announcements' listener."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self.hear: Callable[[bytes], None] | None = None

    def tell(self, message: bytes) -> None:
        self._send(("PUBLISH", CHANNEL, message))

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

    def _send(
        self, *commands: Command, key: bytes | None = None, tell: Callable[[list[Any] | None], None] | None = None
    ) -> None:
        with suppress(RedisUnavailable):
            self._link.ask(b"".join(pack(command) for command in commands), len(commands), tell or _ignore, key)


def _key(canary: str) -> bytes:
    return b"tk:canary:" + sha256(canary.encode()).hexdigest()[:32].encode()


def _ignore(_replies: list[Any] | None) -> None:
    """A lost hint is a hint less."""
