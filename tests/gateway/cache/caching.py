"""A cache over a real Valkey, and workers of the gateway that share it, before one scripted vendor."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from tests.gateway.serving import KEY, ManualClock, Serving, chat, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream
from tollkeeper.contracts.cache import (
    CacheAttachment,
    CachePolicy,
    CoalesceRule,
    ExactRule,
)
from tollkeeper.contracts.catalog import ModelRoute, Snapshot
from tollkeeper.contracts.chat import MODEL_OPERATIONS
from tollkeeper.contracts.guardrails import Level
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.cache.entry import Seal
from tollkeeper.gateway.cache.memory import Memory
from tollkeeper.gateway.cache.metrics import CacheMetrics
from tollkeeper.gateway.cache.shelf import Shelf
from tollkeeper.gateway.cache.single_flight import SingleFlight
from tollkeeper.gateway.cache.store import Store
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.stages.recall import Recalling

SEAL = Seal(b"k" * 32)
HEADER = "x-tollkeeper-cache"
EXACT = ExactRule(operations=frozenset(MODEL_OPERATIONS))
MODELS = ("gpt-4o-mini", "alias", "embed")


def policy(**fields: Any) -> CachePolicy:
    return CachePolicy(uuid7(), "policy", 1, **{"exact": EXACT, **fields})


def attached(made: CachePolicy, level: Level = Level.PLATFORM, subject: Any = None) -> CacheAttachment:
    return CacheAttachment(made, level, subject)


def with_caches(snap: Snapshot, *attachments: CacheAttachment) -> Snapshot:
    return replace(snap, version=snap.version + 1, caches={None: attachments})


def before(
    vendor: FakeUpstream, *attachments: CacheAttachment, kind: str = "openai_compatible", **fields: Any
) -> Snapshot:
    routes: list[ModelRoute] = [route(name, ("one", name), **fields) for name in MODELS]
    # So that a call nobody waits for is closed, and not read to its end.
    config = provider("one", vendor.base_url, kind=kind, options={"cancel_stops_billing": True, "visible_output": True})
    return with_caches(snapshot([config], routes), *attachments)


@dataclass
class Worker:
    gateway: Serving
    shelf: Shelf
    memory: Memory
    flights: SingleFlight

    async def ask(self, token: str = KEY, *, path: str = "/v1/chat/completions", **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}", **options.pop("headers", {})}
        return await self.gateway.client.post(
            path, json=options.pop("json", None) or chat(), headers=headers, **options
        )

    def metric(self, name: str, **labels: str) -> float:
        return self.gateway.metrics.registry.get_sample_value(f"tollkeeper_cache_{name}", labels) or 0.0


@dataclass
class Cached:
    """`one` and `two` are workers of one installation."""

    one: Worker
    two: Worker
    vendor: FakeUpstream
    link: RedisLink
    extra: dict[str, Any] = field(default_factory=dict)

    def put(self, snap: Snapshot) -> None:
        for worker in (self.one, self.two):
            worker.gateway.snapshots.snapshot = replace(snap, version=worker.gateway.snapshots.snapshot.version + 1)


@asynccontextmanager
async def worker(
    folder: Path,
    snap: Snapshot,
    link: RedisLink | None,
    *,
    memory_bytes: int = 4_000_000,
    tenant_bytes: int = 64_000_000,
    semantic: Any = None,
    **options: Any,
) -> AsyncIterator[Worker]:
    made: list[Worker] = []

    def make(clock: ManualClock, metrics: Metrics) -> Recalling:
        told, memory = CacheMetrics(metrics.registry), Memory(memory_bytes)
        store = None if link is None else Store(link, tenant_bytes=tenant_bytes)
        shelf = Shelf(memory, store, SEAL, told, clock)
        flights = SingleFlight()
        made.append(Worker(None, shelf, memory, flights))  # type: ignore[arg-type]
        return Recalling(shelf, flights, told, semantic, b"s" * 32)

    async with serving(folder, snap, make_recalling=make, **options) as running:
        made[0].gateway = running
        yield made[0]


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[RedisLink]:
    link = RedisLink(url, ManualClock(), connect_seconds=10.0, operation_seconds=10.0)
    await link.start()
    await link.call("FLUSHALL")
    try:
        yield link
    finally:
        await link.close()
        # The socket goes in the loop's next turn, and this may have been its last.
        await asyncio.sleep(0.01)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


def coalescing(**fields: Any) -> CachePolicy:
    return policy(coalesce=CoalesceRule(**fields))
