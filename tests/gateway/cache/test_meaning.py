"""Answers by meaning through the whole gateway: over HTTP, before a scripted vendor, with an embedder at its port."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pytest

from tests.gateway.cache.caching import HEADER, Worker, attached, before, policy, worker
from tests.gateway.serving import ManualClock
from tests.gateway.upstream import FakeUpstream
from tollkeeper.contracts.batches import Answered
from tollkeeper.contracts.cache import SemanticRule
from tollkeeper.core.errors import Forbidden
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.cache.embedding_local import is_installed, normalised
from tollkeeper.gateway.cache.embedding_model import ModelEmbedder, read_vector
from tollkeeper.gateway.cache.meaning import Meaning, Parts
from tollkeeper.gateway.cache.metrics import CacheMetrics
from tollkeeper.gateway.cache.mirror import Mirror, Records
from tollkeeper.gateway.cache.observations import ObservationLog
from tollkeeper.gateway.cache.semantic import Semantics
from tollkeeper.gateway.cache.vectors import Floats, Vectors
from tollkeeper.gateway.metrics import Metrics

ASKED = "How do I reset my password?"
SAME = "Hello, what is the best way to reset my password?"


class OneVector:
    """At the embedder's port: every text is the same, so that guards alone decide."""

    name = "one-vector"
    deadline_seconds = 10.0

    def get(self, name: str) -> "OneVector":
        return self

    def close(self) -> None:
        pass

    async def embed(self, text: str, key_id: UUID | None, *, is_awaited: bool) -> Floats | None:
        return normalised(np.ones((1, 4), dtype=np.float32))[0]


@pytest.fixture
async def semantics() -> AsyncIterator[Semantics]:
    vectors, told = Vectors(10**6, 10**7), CacheMetrics(Metrics().registry)
    mirror = Mirror(vectors, None, Records(b"k" * 32), told, ManualClock(), tenant_bytes=10**6)
    made = Semantics(OneVector(), vectors, mirror, ObservationLog(None), ManualClock(), lambda: 0.99)
    yield made
    await made.close()


@pytest.fixture
async def one(tmp_path: Path, vendor: FakeUpstream, semantics: Semantics) -> AsyncIterator[Worker]:
    snap = before(vendor, attached(policy(semantic=SemanticRule())))
    async with worker(tmp_path, snap, None, semantic=semantics) as made:
        yield made


def asking(text: str, **fields: Any) -> dict[str, Any]:
    return {
        "model": "gpt-4o-mini",
        "temperature": 0,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }


async def learnt(one: Worker, semantics: Semantics, count: int = 1) -> None:
    async with asyncio.timeout(15):
        while sum(len(each.rows) for each in semantics._vectors._partitions.values()) < count:
            await asyncio.sleep(0.01)


async def test_another_wording_is_answered_without_the_vendor(
    one: Worker, semantics: Semantics, vendor: FakeUpstream
) -> None:
    first = await one.ask(json=asking(ASKED))
    assert first.headers[HEADER] == "miss"
    await learnt(one, semantics)
    second = await one.ask(json=asking(SAME))
    assert second.headers[HEADER] == "semantic; score=1.000"
    assert second.json()["choices"] == first.json()["choices"]
    assert second.headers["x-tollkeeper-cost-usd"] == "0"
    streamed = await one.ask(json=asking(SAME, stream=True))
    assert streamed.headers[HEADER].startswith("semantic")
    assert len(vendor.seen) == 1


@pytest.mark.parametrize(
    "body",
    [
        asking("Why do I reset my password?"),
        asking(SAME, temperature=1.5),
        asking(SAME, max_tokens=17),
        asking(SAME, model="alias"),
        asking(SAME, messages=[{"role": "system", "content": "Be rude."}, {"role": "user", "content": SAME}]),
        asking(
            SAME,
            messages=[
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hi"},
                {"role": "user", "content": SAME},
            ],
        ),
        asking(SAME, tools=[{"type": "function", "function": {"name": "reset", "parameters": {"type": "object"}}}]),
        asking(SAME, response_format={"type": "json_object"}),
    ],
    ids=["asked", "temperature", "parameter", "model", "system", "turns", "tools", "format"],
)
async def test_what_differs_in_anything_else_is_asked_for(
    one: Worker, semantics: Semantics, vendor: FakeUpstream, body: dict[str, Any]
) -> None:
    await one.ask(json=asking(ASKED))
    await learnt(one, semantics)
    answer = await one.ask(json=body)
    assert not answer.headers[HEADER].startswith("semantic")
    assert len(vendor.seen) == 2


async def test_opt_in_means_those_who_ask_for_it(tmp_path: Path, vendor: FakeUpstream, semantics: Semantics) -> None:
    snap = before(vendor, attached(policy(semantic=SemanticRule(is_opt_in=True))))
    async with worker(tmp_path, snap, None, semantic=semantics) as one:
        await one.ask(json=asking(ASKED), headers={HEADER: "semantic"})
        await learnt(one, semantics)
        assert (await one.ask(json=asking(SAME))).headers[HEADER] == "miss"
        asked = await one.ask(json=asking(SAME + " Thanks!"), headers={HEADER: "semantic"})
        assert asked.headers[HEADER].startswith("semantic")


async def test_a_tier_that_nobody_needed_is_made_at_the_first_question(link: RedisLink) -> None:
    told = CacheMetrics(Metrics().registry)
    meaning = Meaning(Parts(link, b"k" * 32, told, ManualClock(), tenant_bytes=10**6, worker_bytes=10**6))
    assert meaning.tier is None
    meaning.forget(uuid7(), b"f" * 32)
    tier = await meaning.opened()
    assert tier is meaning.tier
    assert tier.entries(uuid7()) == []
    await meaning.close()


class Calls:
    """At the port of calls made inside: one answer, whatever is asked."""

    def __init__(self, status: int, body: bytes, *, is_refused: bool = False) -> None:
        self.status, self.body, self.is_refused = status, body, is_refused
        self.asked: list[bytes] = []

    async def principal(self, key_id: UUID, endpoint: str) -> Any:
        if self.is_refused:
            raise Forbidden("The key may not.")
        return key_id

    async def call(self, principal: Any, endpoint: str, body: bytes, request_id: UUID, keep: Any) -> None:
        self.asked.append(body)
        await keep(Answered(request_id, self.status, self.body, None, {}))


async def test_vectors_of_a_model_are_asked_for_under_the_callers_key() -> None:
    calls = Calls(200, orjson.dumps({"data": [{"embedding": [3.0, 4.0]}]}))
    vector = await ModelEmbedder("embed", calls).embed("a text", uuid7(), is_awaited=True)
    assert vector is not None
    assert vector.tolist() == pytest.approx([0.6, 0.8])
    assert orjson.loads(calls.asked[0]) == {"model": "embed", "input": "a text", "encoding_format": "float"}


@pytest.mark.parametrize(
    "calls",
    [Calls(500, b"{}"), Calls(200, b"not json"), Calls(200, b'{"data": []}'), Calls(200, b"{}", is_refused=True)],
    ids=["failed", "garbled", "empty", "refused"],
)
async def test_a_model_that_does_not_answer_is_no_vector(calls: Calls) -> None:
    assert await ModelEmbedder("embed", calls).embed("a text", uuid7(), is_awaited=True) is None
    assert await ModelEmbedder("embed", calls).embed("a text", None, is_awaited=True) is None


@pytest.mark.parametrize("vector", ["[0.0, 0.0]", "[]", "[[1.0]]", '["a"]', "[null]", "7", "[1e400]"])
def test_a_vector_that_nothing_can_be_like_is_none(vector: str) -> None:
    assert read_vector(b'{"data": [{"embedding": ' + vector.encode() + b"}]}") is None


@pytest.mark.skipif(not is_installed(), reason="the extra `embed` is not installed (TOLLKEEPER_EXTRAS=embed)")
async def test_the_local_model_serves_through_the_whole_gateway(
    tmp_path: Path, vendor: FakeUpstream, link: RedisLink
) -> None:
    told = CacheMetrics(Metrics().registry)
    parts = Parts(link, b"k" * 32, told, ManualClock(), tenant_bytes=10**6, worker_bytes=10**6)
    meaning = Meaning(parts)
    tier = await meaning.opened()
    # A machine that does much else may need longer than a caller would wait, and nothing is to be asked anyway.
    tier._embedders.get("").deadline_seconds = 30.0
    tier._explored = 0.0
    async with worker(
        tmp_path, before(vendor, attached(policy(semantic=SemanticRule()))), link, semantic=meaning
    ) as one:
        await one.ask(json=asking(ASKED))
        await learnt(one, tier)
        answer = await one.ask(json=asking(SAME))
        assert answer.headers[HEADER].startswith("semantic; score=0.")
        assert len(vendor.seen) == 1
        assert (await one.ask(json=asking("How do I reset my username?"))).headers[HEADER] == "miss"
    await meaning.close()
