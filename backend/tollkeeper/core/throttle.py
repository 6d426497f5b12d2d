"""How often something may be tried: token buckets by name (GCRA), counted over all workers in Redis.

A try is charged before the work is done, so tries in parallel gain nothing. Names are kept as digests.
Failure policy: Redis gone: each worker counts for itself, in bounded memory; nobody is refused because of the outage.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import hiredis
import structlog

from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import RateLimited
from tollkeeper.core.redis import RedisLink, RedisUnavailable

log = structlog.get_logger(__name__)

MOST_BUCKETS: Final = 20_000
# One slot of a cluster holds them all: there are few, and several are charged together.
_PREFIX: Final = "tk:{throttle}:"
_CHARGE: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local full, wait = {}, 0
for i, key in ipairs(KEYS) do
  local seconds, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  full[i] = math.max(tonumber(redis.call('GET', key) or '0'), now)
  wait = math.max(wait, full[i] + seconds - now - burst * seconds)
end
if wait > 0 then return wait end
for i, key in ipairs(KEYS) do
  local until_full = full[i] + tonumber(ARGV[2 * i - 1])
  redis.call('SET', key, string.format('%.0f', until_full), 'PX', math.ceil((until_full - now) / 1000))
end
return 0
"""
_GIVE_BACK: Final = """
for i, key in ipairs(KEYS) do
  local known = redis.call('GET', key)
  if known then
    redis.call('SET', key, string.format('%.0f', tonumber(known) - tonumber(ARGV[i])), 'KEEPTTL')
  end
end
return 0
"""


@dataclass(frozen=True, slots=True)
class Allowance:
    """`burst` tries at once, then one each `seconds`."""

    burst: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Bucket:
    name: str
    allowance: Allowance

    @property
    def key(self) -> str:
        return _PREFIX + hashlib.sha256(self.name.encode()).hexdigest()[:32]


class Throttle:
    def __init__(self, clock: Clock, redis: RedisLink | None = None, *, most_buckets: int = MOST_BUCKETS) -> None:
        self._clock = clock
        self._redis = redis
        self._most_buckets = most_buckets
        # Name → the moment at which the bucket is empty of tries again.
        self._full_until: OrderedDict[str, float] = OrderedDict()

    @property
    def size(self) -> int:
        """Buckets in this process's memory."""
        return len(self._full_until)

    async def charge(self, buckets: Sequence[Bucket], message: str = "Too many attempts; wait a little.") -> None:
        """Raises RateLimited, nothing charged, when one of the allowances is used up."""
        microseconds = [round(bucket.allowance.seconds * 1_000_000) for bucket in buckets]
        limits = [bucket.allowance.burst for bucket in buckets]
        arguments = [number for pair in zip(microseconds, limits, strict=True) for number in pair]
        reply = await self._ask(_CHARGE, buckets, arguments)
        wait = self._charge_locally(buckets) if reply is None else int(reply) / 1_000_000
        if wait > 0:
            raise RateLimited(message, retry_after_seconds=wait)

    async def give_back(self, buckets: Sequence[Bucket]) -> None:
        """It was no guess: take the charge back."""
        microseconds = [round(bucket.allowance.seconds * 1_000_000) for bucket in buckets]
        if await self._ask(_GIVE_BACK, buckets, microseconds) is None:
            for bucket in buckets:
                if bucket.name in self._full_until:
                    self._full_until[bucket.name] -= bucket.allowance.seconds

    async def forget(self, bucket: Bucket) -> None:
        """The owner has come: the slips of before are forgotten."""
        self._full_until.pop(bucket.name, None)
        if self._redis is not None:
            try:
                await self._redis.call("DEL", bucket.key)
            except (RedisUnavailable, hiredis.ReplyError):
                return

    def _charge_locally(self, buckets: Sequence[Bucket]) -> float:
        now = self._clock.monotonic()
        wait = max((self._wait(bucket, now) for bucket in buckets), default=0.0)
        if wait > 0:
            return wait
        for bucket in buckets:
            full = max(self._full_until.get(bucket.name, now), now)
            self._full_until[bucket.name] = full + bucket.allowance.seconds
            self._full_until.move_to_end(bucket.name)
        while len(self._full_until) > self._most_buckets:
            self._full_until.popitem(last=False)
        return 0.0

    def _wait(self, bucket: Bucket, now: float) -> float:
        allowance = bucket.allowance
        return self._full_until.get(bucket.name, now) + allowance.seconds - now - allowance.burst * allowance.seconds

    async def _ask(self, script: str, buckets: Sequence[Bucket], arguments: Sequence[int]) -> Any:
        """None when Redis cannot say."""
        if self._redis is None or not self._redis.is_available or not buckets:
            return None
        keys = [bucket.key for bucket in buckets]
        try:
            return await self._redis.call("EVAL", script, len(keys), *keys, *arguments)
        except RedisUnavailable:
            return None
        except hiredis.ReplyError as error:
            log.warning("throttle_counts_alone", problem=str(error)[:100])
            return None
