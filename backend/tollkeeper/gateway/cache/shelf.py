"""Where entries are looked for and kept: this worker's memory first, then Redis, which all workers share.

What is found is checked here: whose it is, whether it is ours, how old it is. Purges are told to every worker over Redis;
a worker that may have missed one forgets all it has.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import orjson
import structlog

from tollkeeper.core.clock import Clock
from tollkeeper.gateway.cache.entry import Entry, Poisoned, Seal
from tollkeeper.gateway.cache.memory import Memory
from tollkeeper.gateway.cache.metrics import CacheMetrics
from tollkeeper.gateway.cache.store import Store

log = structlog.get_logger(__name__)

# The listener's other channels are in `wiring`.
CHANNEL: Final = "tollkeeper:cache"
_PAGE: Final = 256
_MOST_PURGES: Final = 1_024


@dataclass(frozen=True, slots=True)
class Purge:
    """What goes: of a tenant, all that is said must be so; nothing said: everything. `before`: seconds since 1970."""

    tenant_id: UUID
    id: str | None = None
    model: str | None = None
    namespace: str | None = None
    before: float | None = None

    def takes(self, entry: Entry) -> bool:
        return (
            entry.tenant_id == self.tenant_id
            and self.id in {None, entry.id}
            and self.model in {None, entry.model, entry.upstream_model}
            and self.namespace in {None, entry.namespace}
            and (self.before is None or entry.created_at < self.before)
        )

    def write(self) -> bytes:
        return orjson.dumps((self.tenant_id.hex, self.id, self.model, self.namespace, self.before))

    @classmethod
    def read(cls, message: bytes) -> "Purge":
        """Raises `ValueError`."""
        try:
            tenant, name, model, namespace, before = orjson.loads(message)
            return cls(UUID(hex=tenant), name, model, namespace, before)
        except (TypeError, AttributeError) as error:
            raise ValueError("not a purge") from error


class Shelf:
    def __init__(self, memory: Memory, store: Store | None, seal: Seal, metrics: CacheMetrics, clock: Clock) -> None:
        """`store` None: each worker has what it has seen itself."""
        self._memory = memory
        self.store = store
        self._seal = seal
        self._metrics = metrics
        self._clock = clock
        # When a tenant's entries were last told to go: an answer that was under way by then is not kept.
        self._purged: OrderedDict[UUID, float] = OrderedDict()

    def peek(self, tenant_id: UUID, fingerprint: bytes, max_age: float) -> Entry | None:
        """In this worker's memory."""
        entry = self._memory.find(tenant_id, fingerprint)
        return entry if entry is not None and self._is_fresh(entry, max_age) else None

    async def find(self, tenant_id: UUID, fingerprint: bytes, max_age: float) -> Entry | None:
        if (entry := self.peek(tenant_id, fingerprint, max_age)) is not None:
            return entry
        if self.store is None:
            return None
        return self._read(await self.store.find(tenant_id, fingerprint), tenant_id, fingerprint, max_age)

    async def look(
        self, tenant_id: UUID, fingerprint: bytes, max_age: float, token: bytes
    ) -> tuple[Entry | None, bytes | None]:
        """In Redis. The entry, else who makes one: `token` where that is to be us, None where nobody can tell."""
        if self.store is None:
            return None, None
        value, holder = await self.store.look(tenant_id, fingerprint, token)
        return self._read(value, tenant_id, fingerprint, max_age), holder

    def keep(self, entry: Entry, ttl_seconds: float, begun_at: float) -> bool:
        """Does not wait. `begun_at`: when its call began, seconds since 1970. False: it may not be kept."""
        if begun_at <= self._purged.get(entry.tenant_id, 0.0):
            return False
        try:
            value, size = self._seal.write(entry)
        except TypeError:
            # A text that no JSON can carry.
            return False
        self._put(replace(entry, size=size))
        if self.store is not None:
            self.store.keep(entry.tenant_id, entry.fingerprint, value, ttl_seconds)
        return True

    def forget(self, tenant_id: UUID, fingerprint: bytes) -> None:
        self._memory.drop(fingerprint)
        if self.store is not None:
            self.store.forget(tenant_id, fingerprint)

    # Purging

    async def purge(self, purge: Purge) -> int:
        """Everywhere; how many entries went from Redis. Raises `RedisUnavailable`: nobody can say what is left then."""
        gone = 0
        store = self.store
        if store is not None:
            # Told first, so that no worker puts back what it has, and again, for what came meanwhile.
            await store.publish(CHANNEL, purge.write())
            gone = await self._drop(store, purge)
            await store.publish(CHANNEL, purge.write())
        self.hear(purge.write())
        return gone

    def hear(self, message: bytes) -> None:
        try:
            purge = Purge.read(message)
        except ValueError:
            # Of a newer version: something has to go.
            log.warning("cache_purge_not_understood")
            self.resync()
            return
        self._memory.drop_where(purge.takes)
        self._metrics.holds(self._memory.bytes)
        self._purged[purge.tenant_id] = self._clock.unix()
        self._purged.move_to_end(purge.tenant_id)
        if len(self._purged) > _MOST_PURGES:
            self._purged.popitem(last=False)

    def resync(self) -> None:
        """A purge may have been missed."""
        self._memory.clear()
        self._metrics.holds(0)

    async def page(self, tenant_id: UUID, start: int, count: int) -> list[Entry]:
        """Entries as they lie in Redis, those that end last first. Raises `RedisUnavailable`."""
        if self.store is None:
            return []
        ids = await self.store.ids(tenant_id, start, count)
        return [entry for entry in await self.entries(tenant_id, ids) if entry is not None]

    async def entries(self, tenant_id: UUID, ids: Sequence[str]) -> list[Entry | None]:
        """As they lie in Redis; None for one that is over, or none of ours. Raises `RedisUnavailable`."""
        values = [] if self.store is None else await self.store.values(tenant_id, ids)
        return [self._unseal(value, tenant_id, bytes.fromhex(name)) for name, value in zip(ids, values, strict=True)]

    async def _drop(self, store: Store, purge: Purge) -> int:
        if purge.id is not None:
            return await store.drop(purge.tenant_id, [purge.id])
        everything = purge == Purge(purge.tenant_id)
        gone = start = 0
        while ids := await store.ids(purge.tenant_id, start, _PAGE):
            values = [None] * len(ids) if everything else await store.values(purge.tenant_id, ids)
            going = []
            for name, value in zip(ids, values, strict=True):
                entry = None if value is None else self._unseal(value, purge.tenant_id, bytes.fromhex(name))
                # One that is over, or none of ours, goes too.
                if entry is None or purge.takes(entry):
                    going.append(name)
            gone += await store.drop(purge.tenant_id, going) if going else 0
            start += len(ids) - len(going)
        return gone

    def _read(self, value: Any, tenant_id: UUID, fingerprint: bytes, max_age: float) -> Entry | None:
        if value is None:
            return None
        entry = self._unseal(value, tenant_id, fingerprint)
        if entry is None or not self._is_fresh(entry, max_age):
            return None
        self._put(entry)
        return entry

    def _unseal(self, value: Any, tenant_id: UUID, fingerprint: bytes) -> Entry | None:
        if value is None:
            return None
        try:
            return self._seal.read(value, tenant_id, fingerprint)
        except Poisoned as poisoned:
            reason = str(poisoned)
            self._metrics.poisoned(reason)
            log.warning("cache_poisoned", reason=reason, tenant_id=str(tenant_id), entry=fingerprint.hex())
            return None

    def _put(self, entry: Entry) -> None:
        self._memory.keep(entry)
        self._metrics.holds(self._memory.bytes)

    def _is_fresh(self, entry: Entry, max_age: float) -> bool:
        age = self._clock.unix() - entry.created_at
        return age < max_age
