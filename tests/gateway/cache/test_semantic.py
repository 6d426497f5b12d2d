"""The semantic tier over a real Valkey, with an embedder at its port that says how alike two texts are."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from tollkeeper.contracts.cache import SemanticRule
from tollkeeper.contracts.chat import Chunk
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.cache.embedding_local import normalised
from tollkeeper.gateway.cache.entry import Entry
from tollkeeper.gateway.cache.metrics import CacheMetrics
from tollkeeper.gateway.cache.mirror import Mirror, Records
from tollkeeper.gateway.cache.observations import Observation, ObservationLog
from tollkeeper.gateway.cache.question import Looked, Question
from tollkeeper.gateway.cache.semantic import Semantics
from tollkeeper.gateway.cache.vectors import Floats, Vectors

ASKED = "How do I reset my password?"
SAME = "What is the best way to reset my password?"
OPPOSITE = "Why do I reset my password?"
KEY = b"v" * 32
PARTITION = b"p" * 32


class FakeEmbedder:
    """Everything is alike (0.99), but what a test says is not; `is_away` answers as a busy one does."""

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.deadline_seconds = 10.0
        self.texts: list[str] = []
        self.far: set[str] = set()
        self.is_away = False

    async def embed(self, text: str, key_id: UUID | None, *, is_awaited: bool) -> Floats | None:
        self.texts.append(text)
        if self.is_away:
            return None
        near = np.array([1.0, 0.0, 0.02 * (len(text) % 5)], dtype=np.float32)
        far = np.array([0.3, 1.0, 0.0], dtype=np.float32)
        return normalised((far if text in self.far else near)[None])[0]


class FakeEmbedders:
    def __init__(self, embedder: FakeEmbedder) -> None:
        self.embedder = embedder

    def get(self, name: str) -> FakeEmbedder:
        return self.embedder

    def close(self) -> None:
        pass


@dataclass
class Tier:
    semantics: Semantics
    embedder: FakeEmbedder
    mirror: Mirror
    vectors: Vectors
    registry: CollectorRegistry
    draws: list[float] = field(default_factory=list)

    def poisoned(self, reason: str) -> float:
        return self.registry.get_sample_value("tollkeeper_cache_poisoned_total", {"reason": reason}) or 0.0

    async def learn(self, question: Question, looked: Looked | None = None, *, text: str = "By mail.") -> Entry:
        entry = entry_of(question, text)
        self.semantics.remember(question, entry, looked)
        await asyncio.gather(*self.semantics._under_way)
        return entry


@asynccontextmanager
async def tier_on(link: RedisLink | None, embedder: FakeEmbedder | None = None) -> AsyncIterator[Tier]:
    registry = CollectorRegistry()
    vectors = Vectors(tenant_bytes=10**6, worker_bytes=10**7)
    mirror = Mirror(vectors, link, Records(KEY), CacheMetrics(registry), SystemClock(), tenant_bytes=10**6)
    embedder = embedder or FakeEmbedder()
    draws: list[float] = []
    semantics = Semantics(
        FakeEmbedders(embedder),
        vectors,
        mirror,
        ObservationLog(link),
        SystemClock(),
        lambda: draws.pop() if draws else 0.99,
    )
    mirror.start()
    try:
        yield Tier(semantics, embedder, mirror, vectors, registry, draws)
    finally:
        await semantics.close()


@pytest.fixture
async def tier(link: RedisLink) -> AsyncIterator[Tier]:
    async with tier_on(link) as made:
        yield made


def question(turn: str = ASKED, tenant_id: UUID | None = None, partition: bytes = PARTITION) -> Question:
    return Question(tenant_id or uuid7(), partition, turn, SemanticRule(), "gpt-4o-mini")


def entry_of(asked: Question, text: str) -> Entry:
    chunk = Chunk({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}, None)
    fingerprint = uuid7().bytes * 2
    return Entry(asked.tenant_id, fingerprint, (chunk,), False, time.time(), asked.model, "one", "gpt-4o-mini-2024")


async def until(is_so: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + 15
    while not is_so():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def test_a_question_that_means_the_same_is_served(tier: Tier) -> None:
    asked = question()
    entry = await tier.learn(asked)
    looked = await tier.semantics.find(question(SAME, asked.tenant_id))
    assert looked is not None
    assert looked.served is not None
    assert looked.served.fingerprint == entry.fingerprint
    assert looked.served.score > 0.95
    [seen] = await tier.semantics.observations.recent(asked.tenant_id, 10)
    assert seen.is_served
    assert not seen.is_asked


async def test_what_a_guard_refuses_is_not_even_embedded(tier: Tier) -> None:
    asked = question()
    await tier.learn(asked)
    tier.embedder.texts.clear()
    looked = await tier.semantics.find(question(OPPOSITE, asked.tenant_id))
    assert looked is not None
    assert looked.served is None
    assert tier.embedder.texts == []


async def test_the_same_words_in_another_order_are_not_served(tier: Tier) -> None:
    asked = question("Does stress cause insomnia?")
    await tier.learn(asked)
    looked = await tier.semantics.find(question("Does insomnia cause stress?", asked.tenant_id))
    assert looked is not None
    assert looked.served is None
    assert not looked.candidates


async def test_why_a_neighbour_was_not_served_is_an_observation_and_can_be_asked(tier: Tier) -> None:
    asked = question()
    entry = await tier.learn(asked)
    other = question(OPPOSITE, asked.tenant_id)
    await tier.learn(other, await tier.semantics.find(other))
    [seen] = await tier.semantics.observations.recent(asked.tenant_id, 10)
    assert (seen.refused_by, seen.is_asked, seen.is_served) == ("question", True, False)
    [(neighbour, candidate)] = tier.semantics.neighbours(asked.tenant_id, entry.fingerprint)
    assert neighbour.turn == OPPOSITE
    assert candidate.verdicts["question"] == "question: how against why"
    assert candidate.verdicts["numbers"] == ""


async def test_words_that_agree_are_not_served_where_the_model_finds_them_unlike(tier: Tier) -> None:
    asked = question()
    await tier.learn(asked)
    tier.embedder.far.add(SAME)
    looked = await tier.semantics.find(question(SAME, asked.tenant_id))
    assert looked is not None
    assert looked.served is None
    assert looked.candidates[0].score < 0.5


async def test_nothing_crosses_tenants_or_partitions(tier: Tier) -> None:
    asked = question()
    await tier.learn(asked)
    for other in (question(ASKED), question(ASKED, asked.tenant_id, b"q" * 32)):
        looked = await tier.semantics.find(other)
        assert looked is not None
        assert looked.served is None


async def test_ten_thousand_near_duplicates_of_other_tenants_find_nothing(link: RedisLink) -> None:
    async with tier_on(None) as tier:
        await tier.learn(question())
        strangers = [uuid7() for _ in range(100)]
        for number in range(10_000):
            turn = (ASKED, SAME, "How can I reset my password?", "reset my password")[number % 4]
            looked = await tier.semantics.find(question(turn, strangers[number % 100]))
            assert looked is not None
            assert looked.served is None
            assert not looked.candidates


async def test_other_workers_know_it_within_a_second_or_so_and_forget_it_again(tier: Tier, link: RedisLink) -> None:
    asked = question()
    async with tier_on(link) as other:
        await other.semantics.find(asked)
        entry = await tier.learn(asked)
        await until(lambda: len(other.semantics.entries(asked.tenant_id)) == 1)
        looked = await other.semantics.find(question(SAME, asked.tenant_id))
        assert looked is not None
        assert looked.served is not None
        assert looked.served.fingerprint == entry.fingerprint
        tier.semantics.forget(asked.tenant_id, entry.fingerprint)
        await until(lambda: not other.semantics.entries(asked.tenant_id))


async def test_a_worker_that_starts_later_reads_what_there_is(tier: Tier, link: RedisLink) -> None:
    tenant_id = uuid7()
    for number in range(150):
        await tier.learn(question(f"How do I open box {number}?", tenant_id))
    tier.semantics.forget(tenant_id, tier.semantics.entries(tenant_id)[0].fingerprint)
    tier.semantics.purge(tenant_id, model="some other model")
    async with tier_on(link) as late:
        await late.semantics.find(question(ASKED, tenant_id))
        await until(lambda: len(late.semantics.entries(tenant_id)) == 149)
    tier.semantics.purge(tenant_id)
    assert tier.semantics.entries(tenant_id) == []


async def test_records_of_another_hand_tenant_or_shape_are_counted_and_ignored(tier: Tier, link: RedisLink) -> None:
    asked, stranger = question(), uuid7()
    await tier.learn(asked)
    [(_, fields)] = await link.call("XRANGE", f"tk:{{{asked.tenant_id.hex}}}:cv", "-", "+")
    key = f"tk:{{{stranger.hex}}}:cv"
    for value in (fields[1], fields[1][:-3], b"", b"x" * 500):
        await link.call("XADD", key, "*", b"r", value)
    await tier.semantics.find(question(ASKED, stranger))
    await until(lambda: tier.poisoned("vector_mac") >= 3)
    assert tier.poisoned("vector_form") == 1
    assert tier.semantics.entries(stranger) == []


async def test_a_key_of_another_type_is_a_miss(tier: Tier, link: RedisLink) -> None:
    tenant_id = uuid7()
    await link.call("SET", f"tk:{{{tenant_id.hex}}}:cv", "not a stream")
    looked = await tier.semantics.find(question(ASKED, tenant_id))
    assert looked is not None
    assert looked.served is None
    await until(lambda: tier.poisoned("vector_type") > 0)


async def test_without_redis_a_worker_finds_what_it_has_seen_itself() -> None:
    async with tier_on(None) as tier:
        asked = question()
        await tier.learn(asked)
        looked = await tier.semantics.find(question(SAME, asked.tenant_id))
        assert looked is not None
        assert looked.served is not None


async def test_redis_that_goes_away_is_a_miss_and_no_error(tier: Tier, link: RedisLink) -> None:
    asked = question()
    await tier.learn(asked)
    await link.close()
    looked = await tier.semantics.find(question(SAME, asked.tenant_id))
    assert looked is not None
    assert looked.served is not None
    await tier.learn(question("How do I open the box?", asked.tenant_id))
    tier.semantics.forget(asked.tenant_id, looked.served.fingerprint)
    assert [each.turn for each in tier.semantics.entries(asked.tenant_id)] == ["How do I open the box?"]
    await link.start()


async def test_an_embedder_that_is_busy_is_a_miss(tier: Tier) -> None:
    asked = question()
    await tier.learn(asked)
    tier.embedder.is_away = True
    assert await tier.semantics.find(question(SAME, asked.tenant_id)) is None


async def test_a_share_is_asked_anyway_and_an_answer_that_differs_is_forgotten(tier: Tier) -> None:
    asked = question()
    first = await tier.learn(asked, text="By mail.")
    tier.embedder.far.add("By phone.")
    tier.draws.append(0.0)
    again = question(SAME, asked.tenant_id)
    looked = await tier.semantics.find(again)
    assert looked is not None
    assert looked.served is None
    assert looked.candidates
    second = await tier.learn(again, looked, text="By phone.")
    seen = [each for each in await tier.semantics.observations.recent(asked.tenant_id, 10) if each.agreed is not None]
    assert [(each.fingerprint, each.agreed, each.is_asked) for each in seen] == [(first.fingerprint, False, True)]
    assert [each.fingerprint for each in tier.semantics.entries(asked.tenant_id)] == [second.fingerprint]


async def test_answers_that_agree_stay(tier: Tier) -> None:
    asked = question()
    first = await tier.learn(asked, text="By mail.")
    tier.draws.append(0.0)
    again = question(SAME, asked.tenant_id)
    await tier.learn(again, await tier.semantics.find(again), text="By e-mail.")
    told = [each.agreed for each in tier.semantics.observations.of_entry(asked.tenant_id, first.fingerprint)]
    assert True in told
    assert first.fingerprint in [each.fingerprint for each in tier.semantics.entries(asked.tenant_id)]


async def test_what_is_marked_wrong_is_an_observation_and_gone(tier: Tier) -> None:
    asked = question()
    entry = await tier.learn(asked)
    tier.semantics.mark_wrong(asked.tenant_id, entry.fingerprint)
    looked = await tier.semantics.find(question(SAME, asked.tenant_id))
    assert looked is not None
    assert looked.served is None
    [seen] = await tier.semantics.observations.recent(asked.tenant_id, 10)
    assert (seen.is_served, seen.agreed) == (True, False)


async def test_another_embedder_is_another_partition(link: RedisLink) -> None:
    asked = question()
    async with tier_on(link, FakeEmbedder("one")) as one, tier_on(link, FakeEmbedder("two")) as two:
        await two.semantics.find(asked)
        await one.learn(asked)
        await until(lambda: len(two.semantics.entries(asked.tenant_id)) == 1)
        looked = await two.semantics.find(question(SAME, asked.tenant_id))
        assert looked is not None
        assert looked.served is None


@pytest.mark.parametrize("turn", ["What is the weather today?", "word " * 400, "???", ""])
async def test_what_cannot_be_told_apart_or_ages_by_itself_is_never_served(tier: Tier, turn: str) -> None:
    asked = question(turn)
    await tier.learn(asked)
    looked = await tier.semantics.find(asked)
    assert looked is not None
    assert looked.served is None
    assert tier.semantics.entries(asked.tenant_id) == []


def test_observations_read_as_they_were_written() -> None:
    made = Observation(uuid7(), b"f" * 32, 12.5, "fake", "support", 0.87, "numbers", is_asked=True, agreed=False)
    assert Observation.read(made.tenant_id, made.write()) == made
    for value in (b"", b"{}", b"[1]", b"null", b'["zz",1]'):
        with pytest.raises(ValueError):
            Observation.read(made.tenant_id, value)
