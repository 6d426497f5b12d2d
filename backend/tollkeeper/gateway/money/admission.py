"""May this call be made? Requests per minute of the key and of the tenant, all or nothing, in one batched script call.

Calls that wait in one turn of the event loop, or while a round trip is on its way, travel together in the next one
(as in group commit), so the cost per call falls as load rises. Redis gone: a local share, limit / live workers, by the
same arithmetic (`gcra`), never unlimited and never an outage.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from types import MappingProxyType
from typing import Final
from uuid import UUID

import hiredis
import structlog

from tollkeeper.contracts.principal import Principal
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import RateLimited
from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.gateway.money import gcra
from tollkeeper.gateway.money.admission_batch import Group, Limits, group, limits_of
from tollkeeper.gateway.money.gcra import Verdict

log = structlog.get_logger(__name__)

SCRIPT: Final = files(__package__).joinpath("admission.lua").read_bytes()
SCRIPT_SHA: Final = sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()
# Calls in one round trip, over all tenants; the rest waits for the next.
MAX_BATCH: Final = 512
MAX_REMEMBERED: Final = 20_000
UNLIMITED: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(slots=True)
class _Waiting:
    limits: Limits
    verdict: "asyncio.Future[Verdict]"


class Admission:
    """`start` and `close` frame the life of its pump; `admit` is what the stage calls."""

    def __init__(self, redis: RedisLink, clock: Clock, live_workers: Callable[[], int]) -> None:
        self._redis = redis
        self._clock = clock
        self._live_workers = live_workers
        self._queue: list[_Waiting] = []
        self._voids: list[Limits] = []
        self._wake = asyncio.Event()
        self._pump_task: asyncio.Task[None] | None = None
        self._known: dict[UUID, tuple[Principal, Limits | None]] = {}
        self._local: dict[bytes, int] = {}
        # Tests give the script its time; 0 lets Redis look at its own clock.
        self.script_now_us = 0

    async def start(self) -> None:
        self._pump_task = asyncio.get_running_loop().create_task(self._pump(), name="admission-pump")

    async def close(self) -> None:
        if self._pump_task is not None:
            self._pump_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump_task
            self._pump_task = None
        self._finish_locally(self._queue)
        self._queue = []

    async def admit(self, principal: Principal) -> Mapping[str, str]:
        """The rate-limit headers for the answer. Raises `RateLimited`; a refused or cancelled call uses up nothing."""
        limits = self._limits(principal)
        if limits is None:
            return UNLIMITED
        if not self._redis.is_available or self._pump_task is None:
            return _answer(limits, self._decide_locally(limits))
        waiting = _Waiting(limits, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._wake.set()
        try:
            verdict = await waiting.verdict
        except asyncio.CancelledError:
            self._withdraw(waiting)
            raise
        return _answer(limits, verdict)

    def _limits(self, principal: Principal) -> Limits | None:
        known = self._known.get(principal.key_id)
        if known is not None and known[0] is principal:
            return known[1]
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        limits = limits_of(principal)
        self._known[principal.key_id] = (principal, limits)
        return limits

    def _withdraw(self, waiting: _Waiting) -> None:
        """The caller is gone, and with it the future. Unsent it is left out, under way `_tell` gives it back."""
        verdict = waiting.verdict
        # Decided, but the caller did not get to see it.
        if not verdict.cancelled() and not verdict.result().refused_by:
            self._give_back(waiting.limits)

    def _give_back(self, limits: Limits) -> None:
        self._voids.append(limits)
        self._wake.set()

    async def _pump(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue or self._voids:
                batch = [waiting for waiting in self._queue[:MAX_BATCH] if not waiting.verdict.done()]
                del self._queue[:MAX_BATCH]
                voids, self._voids = self._voids[:MAX_BATCH], self._voids[MAX_BATCH:]
                try:
                    await self._decide(batch, voids)
                except RedisUnavailable:
                    pass
                except Exception:
                    # The pump outlives any fault: a caller must never wait for a pump that is gone.
                    log.exception("admission_failed")
                finally:
                    self._finish_locally(batch)

    async def _decide(self, batch: list[_Waiting], voids: list[Limits]) -> None:
        groups = group(voids, [waiting.limits for waiting in batch])
        if not groups:
            # Everyone who waited has left.
            return
        replies = await self._redis.call_many(
            [entry.command(b"EVALSHA", SCRIPT_SHA, self.script_now_us) for entry in groups]
        )
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, hiredis.ReplyError)]
        if unknown and all(str(replies[index]).startswith("NOSCRIPT") for index in unknown):
            # A fresh or flushed server; nothing was done. EVAL loads the script as well.
            again = [groups[index].command(b"EVAL", SCRIPT, self.script_now_us) for index in unknown]
            for index, reply in zip(unknown, await self._redis.call_many(again), strict=True):
                replies[index] = reply
        limits = [waiting.limits for waiting in batch]
        for entry, reply in zip(groups, replies, strict=True):
            if isinstance(reply, hiredis.ReplyError):
                # It answers, but cannot decide (loading, read-only, out of memory): the local share does.
                self._redis.trip(str(reply))
            else:
                self._tell(entry, reply, batch, limits)

    def _tell(self, entry: Group, reply: list[int], batch: list[_Waiting], limits: list[Limits]) -> None:
        for index, verdict in entry.verdicts(reply, limits):
            waiting = batch[index]
            if not waiting.verdict.done():
                waiting.verdict.set_result(verdict)
            elif not verdict.refused_by:
                self._give_back(waiting.limits)

    def _finish_locally(self, batch: list[_Waiting]) -> None:
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
