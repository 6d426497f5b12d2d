"""The semantic tier before anybody has asked by meaning: nothing of it is loaded, so where no policy wants it, it costs nothing.

The first question has it made, in a thread; that one and those that come meanwhile are misses. Afterwards all goes to
`semantic.Semantics`, which is `tier`.
"""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final
from uuid import UUID

import structlog

from tollkeeper.contracts.ports import ModelCalls
from tollkeeper.core.clock import Clock
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.cache.entry import Entry
from tollkeeper.gateway.cache.metrics import CacheMetrics
from tollkeeper.gateway.cache.question import Looked, Question

log = structlog.get_logger(__name__)

# numpy and the word lists come with these: 40 MB that most workers never need.
_BEHIND: Final = "tollkeeper.gateway.cache.opened"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a tier is made of. `link` None: this worker alone. `key` seals what workers tell each other."""

    link: RedisLink | None
    key: bytes
    metrics: CacheMetrics
    clock: Clock
    # In Redis, for each tenant; and in this worker's memory, for all.
    tenant_bytes: int
    worker_bytes: int


class Meaning:
    """A `SemanticTier`. `calls` comes when the gateway stands: without it a policy's embedder can only be the local one."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._opening: asyncio.Task[None] | None = None
        # `semantic.Semantics`, whose module is not loaded yet.
        self.tier: Any = None
        self.calls: ModelCalls | None = None
        self._draw = random.SystemRandom().random

    async def find(self, question: Question) -> Looked | None:
        if self.tier is None:
            self._open()
            return None
        found: Looked | None = await self.tier.find(question)
        return found

    def remember(self, question: Question, entry: Entry, looked: Looked | None) -> None:
        if self.tier is not None:
            self.tier.remember(question, entry, looked)

    def forget(self, tenant_id: UUID, fingerprint: bytes) -> None:
        if self.tier is not None:
            self.tier.forget(tenant_id, fingerprint)

    async def opened(self) -> Any:
        """The tier itself, made now where nobody has asked yet."""
        if self.tier is None:
            self._open()
            assert self._opening is not None
            await asyncio.shield(self._opening)
        return self.tier

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError):
                await self._opening
        if self.tier is not None:
            await self.tier.close()

    def _open(self) -> None:
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._load())

    async def _load(self) -> None:
        module = await asyncio.to_thread(import_module, _BEHIND)
        self.tier = module.open_tier(self._parts, lambda: self.calls, self._draw)
        log.info("semantic_cache_opened")
