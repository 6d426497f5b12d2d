"""Finds the question that means the same: `question.SemanticTier` with hard guards, a measured threshold and a record of both.

Looking begins with the guards: what they compare is looked up as one number (`guards.signature`), so a question without
a counterpart costs a reading of its words and no embedding. Only where there is one are vectors made and compared. What
was asked is embedded and held against its neighbours later, off the caller's way. A small share of what could be served
is asked anyway: whether both answers agree is an observation, and one that does not agree is forgotten.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from tollkeeper.core.clock import Clock
from tollkeeper.gateway.cache.answer_text import text_of
from tollkeeper.gateway.cache.embedding import Embedder
from tollkeeper.gateway.cache.entry import Entry
from tollkeeper.gateway.cache.guards import Reading, find_refusal, judge, read, signature
from tollkeeper.gateway.cache.mirror import Mirror
from tollkeeper.gateway.cache.observations import Observation, ObservationLog
from tollkeeper.gateway.cache.question import Candidate, Looked, Question
from tollkeeper.gateway.cache.similarity import GENERAL, Threshold, threshold
from tollkeeper.gateway.cache.vectors import Floats, Known, Partition, Vectors

log = structlog.get_logger(__name__)

# Of what could be served: so much is asked anyway.
EXPLORED: Final = 0.02
# Two answers that are so alike say the same.
AGREEMENT: Final = 0.85
_OFF_LOOP_FROM: Final = 5_000
_MOST_UNDER_WAY: Final = 128
_NEIGHBOURS: Final = 5
_READINGS: Final = 1_024
# Neighbours less alike than this are of another subject, and no observation.
_LEAST_OBSERVED: Final = 0.6


@dataclass(frozen=True, slots=True)
class _Noted:
    """What `find` leaves for `remember`. `explored`: the one that would have been served."""

    vector: Floats | None = None
    explored: Candidate | None = None


class Embedders(Protocol):
    def get(self, name: str, /) -> Embedder | None:
        """By its name in a policy; the local one's is empty."""
        ...

    def close(self) -> None: ...


class Semantics:
    """One per worker. `chance`: a number in [0, 1) at each call."""

    def __init__(
        self,
        embedders: Embedders,
        vectors: Vectors,
        mirror: Mirror,
        observations: ObservationLog,
        clock: Clock,
        chance: Callable[[], float],
        *,
        explored: float = EXPLORED,
    ) -> None:
        self._embedders = embedders
        self._vectors = vectors
        self._mirror = mirror
        self.observations = observations
        self._clock = clock
        self._chance = chance
        self._explored = explored
        self._under_way: set[asyncio.Task[None]] = set()
        # What is asked often is read once.
        self._read = lru_cache(maxsize=_READINGS)(read)

    async def close(self) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._under_way.clear()
        await self._mirror.close()
        self._embedders.close()

    async def find(self, question: Question) -> Looked | None:
        embedder = self._embedders.get(question.rule.embedder)
        if embedder is None:
            return None
        self._mirror.want(question.tenant_id)
        reading = self._read(question.turn)
        sign = signature(reading)
        limit = threshold(embedder.name, question.rule.domain, question.rule.delta_millionths)
        partition = self._vectors.find(question.tenant_id, _partition(question, embedder))
        alike = [] if sign is None or limit is None or partition is None else partition.alike(sign)
        passing = [known for known in alike if find_refusal(reading, self._read(known.turn)) is None]
        if not passing or limit is None:
            return Looked(vector=_Noted())
        vector = await self._vector(embedder, question.turn, question.key_id, embedder.deadline_seconds)
        if vector is None:
            return None
        candidates = sorted(
            (self._candidate(known, float(known.vector @ vector), limit) for known in passing),
            key=lambda each: -each.score,
        )
        best = candidates[0]
        if best.score < limit.similarity:
            return Looked(candidates=candidates, vector=_Noted(vector))
        if self._chance() < self._explored:
            return Looked(candidates=candidates, vector=_Noted(vector, best))
        self._vectors.use(question.tenant_id, best.fingerprint)
        self._observe(question, embedder, best, is_served=True)
        return Looked(best, candidates, _Noted(vector))

    def remember(self, question: Question, entry: Entry, looked: Looked | None) -> None:
        embedder = self._embedders.get(question.rule.embedder)
        if embedder is None or len(self._under_way) >= _MOST_UNDER_WAY:
            return
        noted = looked.vector if looked is not None and isinstance(looked.vector, _Noted) else _Noted()
        task = asyncio.get_running_loop().create_task(self._remember(question, entry, embedder, noted))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def forget(self, tenant_id: UUID, fingerprint: bytes) -> None:
        self._mirror.drop(tenant_id, fingerprint)

    def purge(self, tenant_id: UUID, *, model: str | None = None, before: float | None = None) -> None:
        """All of a tenant's, or those of a model or an age."""
        self._mirror.purge(tenant_id, model, before)

    def mark_wrong(self, tenant_id: UUID, fingerprint: bytes) -> None:
        """Somebody says that its answer was given wrongly: an observation, and nobody gets it again."""
        observation = Observation(
            tenant_id, fingerprint, self._clock.unix(), "", GENERAL, 1.0, is_served=True, agreed=False
        )
        self.observations.add(observation)
        self.forget(tenant_id, fingerprint)

    async def catch_up(self, tenant_id: UUID) -> None:
        """Know what the others know, and follow them for a while. Raises `RedisUnavailable`."""
        self._mirror.want(tenant_id)
        await self._mirror.catch_up(tenant_id)

    def entries(self, tenant_id: UUID) -> list[Known]:
        """What this worker knows of a tenant, what was used last at the end."""
        return list(self._vectors.of(tenant_id))

    def neighbours(self, tenant_id: UUID, fingerprint: bytes, most: int = _NEIGHBOURS) -> list[tuple[Known, Candidate]]:
        """Of an entry: those most like it, and why each would or would not be given in its place."""
        known = next((each for each in self._vectors.of(tenant_id) if each.fingerprint == fingerprint), None)
        partition = None if known is None else self._vectors.find(tenant_id, known.partition)
        if known is None or partition is None:
            return []
        reading = self._read(known.turn)
        return [
            (other, _judged(reading, other, score))
            for other, score in partition.nearest(known.vector, most + 1)
            if other.fingerprint != fingerprint
        ][:most]

    async def _remember(self, question: Question, entry: Entry, embedder: Embedder, noted: _Noted) -> None:
        reading = self._read(question.turn)
        sign = signature(reading)
        if sign is None:
            return
        vector = noted.vector
        if vector is None:
            vector = await self._vector(embedder, question.turn, question.key_id, None)
        text = text_of(entry.chunks)
        answer = await self._vector(embedder, text, question.key_id, None) if text else None
        if vector is None:
            return
        name = _partition(question, embedder)
        if noted.explored is not None:
            self._compare(question, embedder, noted.explored, answer)
        partition = self._vectors.find(question.tenant_id, name)
        if partition is not None:
            await self._observe_neighbour(question, embedder, partition, reading, vector)
        known = Known(
            name, entry.fingerprint, question.turn, vector, sign, entry.created_at, entry.upstream_model, answer
        )
        self._mirror.add(question.tenant_id, known)

    def _compare(self, question: Question, embedder: Embedder, explored: Candidate, answer: Floats | None) -> None:
        partition = self._vectors.find(question.tenant_id, _partition(question, embedder))
        known = None if partition is None else partition.find(explored.fingerprint)
        agreed = None
        if known is not None and known.answer is not None and answer is not None:
            agreed = bool(known.answer @ answer >= AGREEMENT)
        self._observe(question, embedder, explored, is_asked=True, agreed=agreed)
        if agreed is False:
            self.forget(question.tenant_id, explored.fingerprint)

    async def _observe_neighbour(
        self, question: Question, embedder: Embedder, partition: Partition, reading: Reading, vector: Floats
    ) -> None:
        """The nearest of what was there, and the guard that kept it from being served."""
        if len(partition) > _OFF_LOOP_FROM:
            nearest = await asyncio.to_thread(partition.nearest, vector, 1)
        else:
            nearest = partition.nearest(vector, 1)
        for known, score in nearest:
            if score >= _LEAST_OBSERVED:
                refusal = find_refusal(reading, self._read(known.turn))
                candidate = Candidate(known.fingerprint, score)
                refused_by = "similarity" if refusal is None else refusal.guard
                self._observe(question, embedder, candidate, is_asked=True, refused_by=refused_by)

    async def _vector(self, embedder: Embedder, text: str, key_id: UUID | None, seconds: float | None) -> Floats | None:
        try:
            async with asyncio.timeout(seconds):
                return await embedder.embed(text, key_id, is_awaited=seconds is not None)
        except TimeoutError:
            return None

    def _candidate(self, known: Known, score: float, limit: Threshold) -> Candidate:
        return Candidate(known.fingerprint, score, p_wrong=limit.p_wrong if score >= limit.similarity else None)

    def _observe(self, question: Question, embedder: Embedder, candidate: Candidate, **what: Any) -> None:
        domain = question.rule.domain or GENERAL
        at = self._clock.unix()
        self.observations.add(
            Observation(question.tenant_id, candidate.fingerprint, at, embedder.name, domain, candidate.score, **what)
        )


def _partition(question: Question, embedder: Embedder) -> bytes:
    """Another embedder is another partition: its vectors say other things."""
    return blake2b(question.partition + embedder.name.encode(), digest_size=16).digest()


def _judged(reading: Reading, known: Known, score: float) -> Candidate:
    verdicts = {verdict.guard: verdict.reason for verdict in judge(reading, read(known.turn))}
    return Candidate(known.fingerprint, score, MappingProxyType(verdicts))
