"""The entries of all workers, in Redis: each under its tenant, bounded in bytes for each tenant, and leases on making one.

Values are opaque here (`entry.Seal` reads them). An index beside them says how large each is and when it ends, so that
what ends first goes first when a tenant has more than its share. Failure policy: Redis away or slow: nothing is found,
nothing is kept, nobody waits.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import hiredis

from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.core.resp import Command, pack

# A tenant that is gone leaves an empty index for so long.
_INDEX_MS: Final = 40 * 86_400_000
LEASE_MS: Final = 6_000
# Nobody waits while a script goes through more of them.
_MOST_EVICTED: Final = 256

# KEYS: entry, ends, sizes, total. ARGV: value, ttl in ms, id, cap, index's life. Answers the ids that have to go.
_KEEP: Final = f"""
local size = #ARGV[1]
local cap = tonumber(ARGV[4])
if size > cap then return {{}} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local total = tonumber(redis.call('GET', KEYS[4]) or '0')
total = total - tonumber(redis.call('HGET', KEYS[3], ARGV[3]) or '0') + size
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[2]), ARGV[3])
redis.call('HSET', KEYS[3], ARGV[3], size)
local gone = {{}}
local function out(id)
  redis.call('ZREM', KEYS[2], id)
  total = total - tonumber(redis.call('HGET', KEYS[3], id) or '0')
  redis.call('HDEL', KEYS[3], id)
  gone[#gone + 1] = id
end
local ended = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, {_MOST_EVICTED})
for _, id in ipairs(ended) do out(id) end
while total > cap and #gone < {2 * _MOST_EVICTED} do
  local first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not first or first == ARGV[3] then break end
  out(first)
end
redis.call('SET', KEYS[4], string.format('%.0f', total))
for index = 2, 4 do redis.call('PEXPIRE', KEYS[index], ARGV[5]) end
return gone
""".encode()
# KEYS: ends, sizes, total, then entries. ARGV: their ids.
_DROP: Final = b"""
local total = tonumber(redis.call('GET', KEYS[3]) or '0')
local gone = 0
for index, id in ipairs(ARGV) do
  total = total - tonumber(redis.call('HGET', KEYS[2], id) or '0')
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[1], id)
  gone = gone + redis.call('DEL', KEYS[3 + index])
end
redis.call('SET', KEYS[3], string.format('%.0f', total), 'KEEPTTL')
return gone
"""
# KEYS: entry, lease. ARGV: token, lease's life. The entry, or whose it is to make one.
_LOOK: Final = b"""
local found = redis.call('GET', KEYS[1])
if found then return {found, false} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {false, ARGV[1]} end
return {false, redis.call('GET', KEYS[2])}
"""
_RELEASE: Final = b"if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_RENEW: Final = (
    b"if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
)


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry in the index: when it ends, in milliseconds since 1970, and its bytes."""

    id: str
    ends_ms: int
    size: int


class Store:
    def __init__(self, link: RedisLink, *, tenant_bytes: int) -> None:
        """`link` is the cache's own: what it does never waits behind money."""
        self._link = link
        self._tenant_bytes = tenant_bytes

    async def find(self, tenant_id: UUID, fingerprint: bytes) -> Any:
        """The value as it lies there; None: nothing, or nobody to ask."""
        try:
            return await self._link.call("GET", _entry(tenant_id, fingerprint.hex()))
        except RedisUnavailable:
            return None
        except hiredis.ReplyError as error:
            return error

    async def look(self, tenant_id: UUID, fingerprint: bytes, token: bytes) -> tuple[Any, bytes | None]:
        """The value, else who makes it: `token` where that is to be us, None where nobody could be asked."""
        name = fingerprint.hex()
        keys = (_entry(tenant_id, name), _lease(tenant_id, name))
        try:
            found, holder = await self._link.call("EVAL", _LOOK, 2, *keys, token, LEASE_MS)
        except RedisUnavailable:
            return None, None
        except hiredis.ReplyError as error:
            return error, None
        return found, holder

    def keep(self, tenant_id: UUID, fingerprint: bytes, value: bytes, ttl_seconds: float) -> None:
        """Does not wait."""
        name = fingerprint.hex()
        keys = (_entry(tenant_id, name), *_index(tenant_id))
        ttl_ms = max(1, int(ttl_seconds * 1000))
        arguments = (value, ttl_ms, name, self._tenant_bytes, _INDEX_MS)
        self._send(("EVAL", _KEEP, 4, *keys, *arguments), keys[0], lambda replies: self._evict(tenant_id, replies))

    def renew(self, tenant_id: UUID, fingerprint: bytes, token: bytes) -> None:
        key = _lease(tenant_id, fingerprint.hex())
        self._send(("EVAL", _RENEW, 1, key, token, LEASE_MS), key)

    def release(self, tenant_id: UUID, fingerprint: bytes, token: bytes) -> None:
        key = _lease(tenant_id, fingerprint.hex())
        self._send(("EVAL", _RELEASE, 1, key, token), key)

    def forget(self, tenant_id: UUID, fingerprint: bytes) -> None:
        """As `drop`, without waiting."""
        self._send(_dropping(tenant_id, [fingerprint.hex()]), _entry(tenant_id, fingerprint.hex()))

    # For whoever looks after the cache

    async def ids(self, tenant_id: UUID, start: int = 0, count: int = 100) -> list[str]:
        """Those that end last first. Raises `RedisUnavailable`, as all below."""
        found = await self._link.call("ZREVRANGE", _index(tenant_id)[0], start, start + count - 1)
        return [name.decode() for name in found]

    async def listed(self, tenant_id: UUID, after: tuple[int, str] | None, count: int) -> list[Listed]:
        """The same from behind a place, which may be gone meanwhile."""
        ends, sizes, _ = _index(tenant_id)
        start = 0
        if after is not None:
            ends_ms, name = after
            rank, later = await self._link.call_many(
                [("ZREVRANK", ends, name), ("ZCOUNT", ends, f"({ends_ms}", "+inf")]
            )
            start = later if rank is None else rank + 1
        found = await self._link.call("ZREVRANGE", ends, start, start + count - 1, "WITHSCORES")
        names, scores = found[::2], found[1::2]
        if not names:
            return []
        known = await self._link.call("HMGET", sizes, *names)
        return [
            Listed(name.decode(), int(float(score)), int(size or 0))
            for name, score, size in zip(names, scores, known, strict=True)
        ]

    async def values(self, tenant_id: UUID, ids: Sequence[str]) -> list[Any]:
        """As they lie there; None where one has ended."""
        if not ids:
            return []
        found = await self._link.call_many([("GET", _entry(tenant_id, name)) for name in ids])
        return list(found)

    async def drop(self, tenant_id: UUID, ids: Sequence[str]) -> int:
        gone = 0
        for at in range(0, len(ids), _MOST_EVICTED):
            gone += await self._link.call(*_dropping(tenant_id, ids[at : at + _MOST_EVICTED]))
        return gone

    async def size(self, tenant_id: UUID) -> tuple[int, int]:
        """Entries and bytes."""
        ends, _, total = _index(tenant_id)
        count, size = await self._link.call_many([("ZCARD", ends), ("GET", total)])
        return int(count), int(size or 0)

    async def publish(self, channel: str, message: bytes) -> None:
        await self._link.call("PUBLISH", channel, message)

    def _evict(self, tenant_id: UUID, replies: list[Any] | None) -> None:
        if replies is None or not isinstance(replies[0], list) or not replies[0]:
            return
        keys = [_entry(tenant_id, name.decode()) for name in replies[0]]
        self._send(("DEL", *keys), keys[0])

    def _send(self, command: Command, key: str, tell: Any = None) -> None:
        with suppress(RedisUnavailable):
            self._link.ask(pack(command), 1, tell or _ignore, key.encode())


def _dropping(tenant_id: UUID, ids: Sequence[str]) -> Command:
    keys = (*_index(tenant_id), *(_entry(tenant_id, name) for name in ids))
    return ("EVAL", _DROP, len(keys), *keys, *ids)


def _entry(tenant_id: UUID, name: str) -> str:
    return f"tk:{{{tenant_id.hex}}}:c:{name}"


def _lease(tenant_id: UUID, name: str) -> str:
    return f"tk:{{{tenant_id.hex}}}:cl:{name}"


def _index(tenant_id: UUID) -> tuple[str, str, str]:
    """When each ends, how large each is, how large all are."""
    head = f"tk:{{{tenant_id.hex}}}:ci:"
    return head + "ends", head + "sizes", head + "total"


def _ignore(_replies: list[Any] | None) -> None:
    """What could not be kept is made again."""
