"""What an exact hit costs, and what looking for one costs that is not there.

`python -m bench.given_again` prints JSON. `hits_per_second` over `proxied_per_second` is `ratio` (bar: 2): the same call at the
same gateway, with and without a cache policy on its model, in turn; `cpu_ratio` is that of the gateway's CPU a call, which a
shared machine leaves alone. `miss_us` is CPU a call of the stage `recall` alone with 32
in flight against a real Valkey, every question new, `miss_in_memory_us` without one (bar: 60).
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import orjson
import uvloop
from prometheus_client import CollectorRegistry

from bench.load import chat_body
from bench.processes import StartFailed
from bench.rig import set_up
from bench.scenarios import CHAT, WHOLE_MODEL, Scenario
from bench.targets import Tollkeeper
from tollkeeper.contracts.cache import CacheAttachment, CachePolicy, ExactRule
from tollkeeper.contracts.catalog import ModelRoute, Snapshot
from tollkeeper.contracts.chat import Operation, Reply
from tollkeeper.contracts.guardrails import Level
from tollkeeper.contracts.principal import Environment, Principal
from tollkeeper.contracts.routing import Target
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.embedded import EmbeddedValkey
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Permission
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.cache.entry import Seal
from tollkeeper.gateway.cache.memory import Memory
from tollkeeper.gateway.cache.metrics import CacheMetrics
from tollkeeper.gateway.cache.shelf import Shelf
from tollkeeper.gateway.cache.single_flight import SingleFlight
from tollkeeper.gateway.cache.store import Store
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.stage import Exchange
from tollkeeper.gateway.stages.recall import Recall, Recalling

CACHED: Final = "mock-given-again"
CALLS: Final = 10_000
IN_FLIGHT: Final = 32


class Cached(Tollkeeper):
    """The product with a cache policy on one of its models."""

    def _config(self, upstream: str) -> dict[str, object]:
        config = super()._config(upstream)
        models: Any = config["models"]
        config["models"] = [*models, {**models[0], "name": CACHED}]
        config["cache"] = [{"name": "bench", "exact": {}, "attach": [{"model": CACHED}]}]
        return config


def measure_hits(folder: Path, *, rounds: int, seconds: float) -> dict[str, float]:
    proxied: list[float] = []
    hit: list[float] = []
    cpu: dict[str, list[float]] = {WHOLE_MODEL: [], CACHED: []}
    with set_up(Cached([WHOLE_MODEL]), folder) as rig:
        for number in range(rounds):
            for model, found in ((WHOLE_MODEL, proxied), (CACHED, hit)):
                scenario = Scenario(f"{model}-{number}", model, CHAT, chat_body(model), 32, seconds, 1)
                sample = rig.run(rig.target, scenario, warmup_seconds=0.5)
                if sample.measured.failed or set(sample.measured.statuses) - {"200"}:
                    raise StartFailed(f"answers of {model}: {sample.measured.statuses}")
                # The first ones, all at once, find nothing.
                if model == CACHED and sample.served > 2 * scenario.connections:
                    raise StartFailed(f"{sample.served} calls of {model} reached the upstream")
                found.append(sample.measured.per_second)
                cpu[model].append((sample.cpu_seconds or 0.0) / sample.measured.sent * 1e6)
    ratios = [one / other for one, other in zip(hit, proxied, strict=True)]
    return {
        "proxied_per_second": round(statistics.median(proxied)),
        "hits_per_second": round(statistics.median(hit)),
        "ratio": round(statistics.median(ratios), 2),
        "proxied_us": round(statistics.median(cpu[WHOLE_MODEL]), 1),
        "hit_us": round(statistics.median(cpu[CACHED]), 1),
        "cpu_ratio": round(statistics.median(cpu[WHOLE_MODEL]) / statistics.median(cpu[CACHED]), 2),
    }


async def measure_misses(url: str) -> dict[str, float]:
    link = RedisLink(url, SystemClock(), operation_seconds=1.0)
    await link.start()
    try:
        costs: dict[str, float] = {}
        for name, store in (("miss_us", Store(link, tenant_bytes=1 << 30)), ("miss_in_memory_us", None)):
            metrics, clock = CacheMetrics(CollectorRegistry()), SystemClock()
            shelf = Shelf(Memory(1 << 20), store, Seal(b"k" * 32), metrics, clock)
            recall = Recall(Recalling(shelf, SingleFlight(), metrics), clock)
            costs[name] = round(min([await _cost(recall, with_policy=True) for _ in range(3)]), 1)
            costs[f"{name}_with_nothing"] = round(min([await _cost(recall, with_policy=False) for _ in range(3)]), 1)
        return {
            "miss_us": round(costs["miss_us"] - costs["miss_us_with_nothing"], 1),
            "miss_in_memory_us": round(costs["miss_in_memory_us"] - costs["miss_in_memory_us_with_nothing"], 1),
        }
    finally:
        await link.close()


async def _cost(recall: Recall, *, with_policy: bool) -> float:
    exchanges = _exchanges(with_policy=with_policy)
    waiting = iter(exchanges)

    async def some() -> None:
        for exchange in waiting:
            await recall(exchange, _answer)

    gc.collect()
    begun = time.process_time()
    await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))
    return (time.process_time() - begun) / CALLS * 1e6


def _exchanges(*, with_policy: bool) -> list[Exchange]:
    who = Principal(uuid7(), uuid7(), None, Environment.LIVE, frozenset({Permission.GATEWAY_USE}))
    held = CacheAttachment(CachePolicy(uuid7(), "bench", 1, ExactRule()), Level.PLATFORM)
    nothing: Mapping[Any, Any] = MappingProxyType({})
    snapshot = Snapshot(1, nothing, nothing, caches={None: (held,)} if with_policy else nothing)
    route = ModelRoute(uuid7(), "mock", (Target("mock", "mock"),))
    dialect, made = OpenAIChat(), []
    for number in range(CALLS):
        body = orjson.loads(chat_body("mock"))
        body["messages"][-1]["content"] += f" {number} {who.key_id}"
        exchange = Exchange(uuid7(), Operation.CHAT, dialect, nothing, bytes, 0.0, 1e12, snapshot=snapshot)
        exchange.principal, exchange.route, exchange.plan = who, route, route.targets
        exchange.call = replace(dialect.read_call(orjson.dumps(body), {}, ""), raw=None)
        made.append(exchange)
    return made


async def _answer(_exchange: Exchange) -> Reply:
    return Reply(is_stream=False, primed=())


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only-misses", action="store_true")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="tollkeeper-bench-") as folder:
        with EmbeddedValkey(Path(folder) / "valkey") as server:
            cores = sorted(os.sched_getaffinity(0))
            if len(cores) > 1:
                os.sched_setaffinity(server.endpoint.pid, {cores[1]})
            figures |= uvloop.run(measure_misses(server.endpoint.url))
        if not given.only_misses:
            figures |= measure_hits(Path(folder), rounds=given.rounds, seconds=given.seconds)
    print(json.dumps(figures))


if __name__ == "__main__":
    _main()
