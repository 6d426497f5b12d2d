"""Who is serving the call of an `Idempotency-Key`, kept in Redis for a day: one call each, whatever the worker.

A claim is a text under a name: `p`, the digest of the call, the request id and the second by which it must be over; once
it was billed, `d` and the first two, and `k` where its answer is kept. Whoever gives a claim back or completes it names the text it left, so a late one
touches nobody else's. Failure policy: Redis away: the call is refused (503), because nobody could tell whether it is the
second; what could not be given back then is given back with the next claim.
"""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import hiredis

from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.core.resp import Command, pack

LIFETIME_MS: Final = 24 * 3_600_000
# A call that should be over for so long will not be any more: its worker is gone, and what it has cost is not known here.
LEEWAY_SECONDS: Final = 60
_MOST_OWED: Final = 1_000
_KEPT: Final = b" k"
_GIVE_BACK: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_COMPLETE: Final = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL') return 1 end return 0"
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Ours: to be given back or completed once."""

    name: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """Another call has the key. `is_same`: it asked for the same; `is_over`: it was billed, or nobody can tell any more.

    `is_kept`: its answer can be given again.
    """

    request_id: UUID
    is_same: bool
    is_over: bool
    is_kept: bool = False


class Claims:
    def __init__(self, link: RedisLink, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        # What was to be given back while Redis was away, oldest out first.
        self._owed: deque[Claimed] = deque(maxlen=_MOST_OWED)

    async def take(
        self, tenant_id: UUID, name: bytes, digest: bytes, request_id: UUID, seconds: float
    ) -> Claimed | Known:
        """`name` is the key and all that it is unique within; the call takes at most `seconds`.

        Raises `DependencyUnavailable`.
        """
        unix = self._clock.unix()
        text = f"p {digest.hex()} {request_id.hex} {int(unix + seconds) + LEEWAY_SECONDS}".encode()
        claimed = Claimed(f"tk:{{{tenant_id.hex}}}:i:{sha256(name).hexdigest()}", text)
        found: bytes | None = None
        # Twice: the claim that is in the way may lapse or be given back between the two commands.
        for _ in range(2):
            is_ours, found = await self._ask(claimed)
            if is_ours:
                return claimed
            if found is not None:
                return _read(found, digest, unix)
        raise _unavailable()

    def give_back(self, claimed: Claimed) -> None:
        """The call has cost nothing: the next one may have the key. Does not wait."""
        self._send(("EVAL", _GIVE_BACK, 1, claimed.name, claimed.text), claimed)

    def complete(self, claimed: Claimed, *, is_kept: bool = False) -> None:
        """Nobody may have the key for the rest of its day. Does not wait; if Redis never hears of it, that still holds.

        `is_kept`: the answer can be given again.
        """
        _, digest, request_id, _ = claimed.text.split(b" ")
        done = b"d %b %b%b" % (digest, request_id, _KEPT if is_kept else b"")
        self._send(("EVAL", _COMPLETE, 1, claimed.name, claimed.text, done), None)

    async def _ask(self, claimed: Claimed) -> tuple[bool, bytes | None]:
        owed = list(self._owed)
        commands: list[Command] = [("EVAL", _GIVE_BACK, 1, each.name, each.text) for each in owed]
        commands.append(("SET", claimed.name, claimed.text, "NX", "PX", LIFETIME_MS))
        commands.append(("GET", claimed.name))
        try:
            replies = await self._link.call_many(commands)
        except (RedisUnavailable, asyncio.CancelledError) as error:
            # Nobody knows whether it was made.
            self.give_back(claimed)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise _unavailable() from error
        if any(isinstance(reply, hiredis.ReplyError) for reply in replies):
            self.give_back(claimed)
            raise _unavailable()
        for each in owed:
            # Another call may have brought it along at the same time.
            with suppress(ValueError):
                self._owed.remove(each)
        return replies[-2] == b"OK", replies[-1]

    def _send(self, command: Command, owed: Claimed | None) -> None:
        try:
            self._link.ask(pack(command), 1, partial(self._told, owed), str(command[3]).encode())
        except RedisUnavailable:
            self._told(owed, None)

    def _told(self, owed: Claimed | None, replies: list[Any] | None) -> None:
        is_heard = replies is not None and not isinstance(replies[0], hiredis.ReplyError)
        if owed is not None and not is_heard:
            self._owed.append(owed)


def _read(found: bytes, digest: bytes, unix: float) -> Known:
    state, known, request_id, *rest = found.decode("ascii").split(" ")
    is_over = state == "d" or int(rest[0]) < unix
    return Known(UUID(hex=request_id), known == digest.hex(), is_over, is_kept=state == "d" and bool(rest))


def _unavailable() -> DependencyUnavailable:
    return DependencyUnavailable(
        "Whether this Idempotency-Key was used before cannot be told at the moment. Send the call again later.",
        retry_after_seconds=1.0,
    )
