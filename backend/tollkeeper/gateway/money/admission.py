"""May this call be made? Requests per minute of the key and of the tenant, all or nothing, in one batched script call.

Calls that wait in one turn of the event loop, or while two round trips are on their way, travel together in the next one
(as in group commit), so the cost per call falls as load rises. Redis gone: a local share, limit / live workers, by the
same arithmetic (`gcra`), never unlimited and never an outage.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha1
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

import hiredis
import structlog

from tollkeeper.contracts.principal import Principal
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import RateLimited
from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.core.resp import pack
from tollkeeper.gateway.money import gcra
from tollkeeper.gateway.money.admission_batch import MAX_CALLS, Group, Limits, group, limits_of
from tollkeeper.gateway.money.gcra import Verdict

log = structlog.get_logger(__name__)

SCRIPT: Final = files(__package__).joinpath("admission.lua").read_bytes()
SCRIPT_SHA: Final = sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()
# Calls in one round trip, over all tenants; the rest waits for the next.
MAX_BATCH: Final = 512
# Round trips at a time. One more than one, so that a call seldom waits for the end of somebody else's.
MAX_TRIPS: Final = 2
MAX_REMEMBERED: Final = 20_000
UNLIMITED: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(slots=True)
class _Caller:
    """What is known of a principal; `packed` holds the command for so many calls of it alone."""

    principal: Principal
    limits: Limits | None
    packed: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class _Waiting:
    limits: Limits
    caller: _Caller
    verdict: "asyncio.Future[Verdict]"


class Admission:
    """`start` and `close` frame its life; `admit` is what the stage calls."""

    def __init__(self, redis: RedisLink, clock: Clock, live_workers: Callable[[], int]) -> None:
        self._redis = redis
        self._clock = clock
        self._live_workers = live_workers
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: list[_Waiting] = []
        self._voids: list[Limits] = []
        self._is_leaving = False
        self._trips: dict[int, list[_Waiting]] = {}
        self._trip_number = 0
        # By the identity of the principal, which its entry holds: an id of ours takes ten times as long to hash.
        self._known: dict[int, _Caller] = {}
        self._local: dict[bytes, int] = {}
        # Tests give the script its time; 0 lets Redis look at its own clock.
        self.script_now_us = 0

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        self._loop = None
        for batch in [self._queue, *self._trips.values()]:
            self._finish_locally(batch)
        self._queue = []

    async def admit(self, principal: Principal) -> Mapping[str, str]:
        """The rate-limit headers for the answer. Raises `RateLimited`; a refused or cancelled call uses up nothing."""
        caller = self._known.get(id(principal))
        if caller is None or caller.principal is not principal:
            caller = self._remember(principal)
        limits = caller.limits
        if limits is None:
            return UNLIMITED
        loop = self._loop
        if loop is None or not self._redis.is_available:
            return _answer(limits, self._decide_locally(limits))
        verdict: asyncio.Future[Verdict] = loop.create_future()
        self._queue.append(_Waiting(limits, caller, verdict))
        self._wake()
        try:
            return _answer(limits, await verdict)
        except asyncio.CancelledError:
            self._withdraw(limits, verdict)
            raise

    def _remember(self, principal: Principal) -> _Caller:
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        caller = self._known[id(principal)] = _Caller(principal, limits_of(principal))
        return caller

    def _withdraw(self, limits: Limits, verdict: "asyncio.Future[Verdict]") -> None:
        """The caller is gone, and with it the future. Unsent it is left out, under way `_tell` gives it back."""
        # Decided, but the caller did not get to see it.
        if not verdict.cancelled() and not verdict.result().refused_by:
            self._give_back(limits)

    def _give_back(self, limits: Limits) -> None:
        self._voids.append(limits)
        self._wake()

    def _wake(self) -> None:
        """Leave at the end of this turn of the loop, with everyone who comes until then."""
        if self._loop is not None and not self._is_leaving and len(self._trips) < MAX_TRIPS:
            self._is_leaving = True
            self._loop.call_soon(self._leave)

    def _leave(self) -> None:
        self._is_leaving = False
        batch = [waiting for waiting in self._queue[:MAX_BATCH] if not waiting.verdict.done()]
        del self._queue[:MAX_BATCH]
        voids, self._voids = self._voids[:MAX_BATCH], self._voids[MAX_BATCH:]
        try:
            self._ask(batch, voids)
        except RedisUnavailable:
            self._finish_locally(batch)
        except Exception:
            # A caller must never wait for an answer that nobody asked for.
            log.exception("admission_failed")
            self._finish_locally(batch)
        if self._queue or self._voids:
            self._wake()

    def _ask(self, batch: list[_Waiting], voids: list[Limits]) -> None:
        self._trip_number += 1
        number = self._trip_number
        if batch and not voids and len(batch) <= MAX_CALLS:
            caller = batch[0].caller
            if all(waiting.caller is caller for waiting in batch):
                self._redis.ask(self._packed(caller, len(batch)), 1, partial(self._hear_of_one, number, caller))
                self._trips[number] = batch
                return
        limits = [waiting.limits for waiting in batch]
        groups = group(voids, limits)
        if groups:
            packed = b"".join([pack(entry.command(b"EVALSHA", SCRIPT_SHA, self.script_now_us)) for entry in groups])
            self._redis.ask(packed, len(groups), partial(self._hear, number, groups, limits))
            self._trips[number] = batch

    def _packed(self, caller: _Caller, count: int) -> bytes:
        """One caller's calls look the same each time: the usual turn has no others."""
        packed = caller.packed.get(count)
        if packed is None or self.script_now_us:
            packed = caller.packed[count] = pack(
                _group_of(caller, count).command(b"EVALSHA", SCRIPT_SHA, self.script_now_us)
            )
        return packed

    def _hear_of_one(self, number: int, caller: _Caller, replies: list[Any] | None) -> None:
        """The answer to a batch of one caller: its scopes are numbered as in the reply."""
        if replies is None or isinstance(replies[0], hiredis.ReplyError):
            count = len(self._trips.get(number, ()))
            limits = caller.limits
            assert limits is not None
            self._hear(number, [_group_of(caller, count)], [limits] * count, replies)
            return
        batch = self._trips.pop(number, ())
        reply = replies[0]
        for order, waiting in enumerate(batch):
            verdict = Verdict(*reply[order * 5 : order * 5 + 5])
            if not waiting.verdict.done():
                waiting.verdict.set_result(verdict)
            elif not verdict.refused_by:
                self._give_back(waiting.limits)
        if self._queue or self._voids:
            self._wake()

    def _hear(self, number: int, groups: Sequence[Group], limits: Sequence[Limits], replies: list[Any] | None) -> None:
        batch = self._trips.get(number, [])
        again: list[Group] = []
        try:
            if replies is not None:
                again = self._take(groups, replies, batch, limits)
            if again:
                # A fresh or flushed server; nothing was done. EVAL loads the script as well.
                packed = b"".join([pack(entry.command(b"EVAL", SCRIPT, self.script_now_us)) for entry in again])
                self._redis.ask(packed, len(again), partial(self._hear, number, again, limits))
                return
        except RedisUnavailable:
            pass
        except Exception:
            log.exception("admission_failed")
        self._trips.pop(number, None)
        self._finish_locally(batch)
        if self._queue or self._voids:
            self._wake()

    def _take(
        self, groups: Sequence[Group], replies: list[Any], batch: list[_Waiting], limits: Sequence[Limits]
    ) -> list[Group]:
        """Pass the verdicts on; the groups whose script the server did not know."""
        again = []
        for entry, reply in zip(groups, replies, strict=True):
            if not isinstance(reply, hiredis.ReplyError):
                self._tell(entry, reply, batch, limits)
            elif str(reply).startswith("NOSCRIPT"):
                again.append(entry)
            else:
                # It answers, but cannot decide (loading, read-only, out of memory): the local share does.
                self._redis.trip(str(reply))
        return again

    def _tell(self, entry: Group, reply: list[int], batch: list[_Waiting], limits: Sequence[Limits]) -> None:
        for index, verdict in entry.verdicts(reply, limits):
            waiting = batch[index]
            if not waiting.verdict.done():
                waiting.verdict.set_result(verdict)
            elif not verdict.refused_by:
                self._give_back(waiting.limits)

    def _finish_locally(self, batch: Sequence[_Waiting]) -> None:
        for waiting in batch:
            if not waiting.verdict.done():
                waiting.verdict.set_result(self._decide_locally(waiting.limits))

    def _decide_locally(self, limits: Limits) -> Verdict:
        now_us = int(self._clock.monotonic() * 1_000_000)
        workers = self._live_workers()
        rates = [scope.rate.share(workers) for scope in limits.scopes]
        stored = self._local
        tats = [
            gcra.load(stored.get(scope.key, 0), rate, now_us) for scope, rate in zip(limits.scopes, rates, strict=True)
        ]
        verdict = gcra.admit(tats, rates, range(len(rates)), now_us)
        if len(stored) >= MAX_REMEMBERED:
            self._local = stored = {key: tat for key, tat in stored.items() if tat > now_us}
        for scope, tat in zip(limits.scopes, tats, strict=True):
            stored[scope.key] = tat
        return verdict


def _group_of(caller: _Caller, count: int) -> Group:
    assert caller.limits is not None
    (entry,) = group((), [caller.limits] * count)
    return entry


def _answer(limits: Limits, verdict: Verdict) -> Mapping[str, str]:
    scope = limits.scopes[verdict.scope - 1]
    headers = {
        "x-ratelimit-limit-requests": str(scope.rate.limit),
        "x-ratelimit-remaining-requests": str(verdict.remaining),
        "x-ratelimit-reset-requests": format_duration(verdict.reset_us),
    }
    if not verdict.refused_by:
        return headers
    raise RateLimited(
        f"Rate limit reached for this {scope.noun}: {scope.rate.limit} requests per minute. "
        f"Please try again in {format_duration(verdict.wait_us)}.",
        retry_after_seconds=verdict.wait_us / 1_000_000,
        headers=headers,
    )


def format_duration(us: int) -> str:
    """As OpenAI writes them, a Go duration: `12ms`, `1.5s`, `6m0s`. Rounded up to milliseconds."""
    ms = -(-us // 1000)
    if ms < 1000:
        return f"{ms}ms"
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f"{seconds}.{ms:03d}".rstrip("0") + "s" if ms else f"{seconds}s"
    if hours:
        return f"{hours}h{minutes}m{tail}"
    return f"{minutes}m{tail}" if minutes else tail
