"""The cache's explorer: what was given again and what it saved, what is kept, and how it goes."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.cache_desk import CacheDesk, CachePurge, KeptAnswer, Neighbour
from tollkeeper.core import events
from tollkeeper.core.clock import Clock
from tollkeeper.core.money import format_usd
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.cache import repository
from tollkeeper.domains.cache.explorer_schemas import (
    CacheEntryOut,
    CacheHits,
    CacheModelHits,
    CacheNeighbour,
    CachePurgeIn,
    CacheStats,
    GuardVerdict,
)
from tollkeeper.web.caller import Caller

_MOST_MODELS: Final = 100
_OBJECT: Final = "cache"
_HITS: Final = ("exact", "coalesced", "semantic")


class CacheExplorer:
    def __init__(self, desk: CacheDesk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock

    async def stats(self, session: AsyncSession, tenant_id: UUID, since: datetime, until: datetime) -> CacheStats:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for row in await repository.list_hits(session, tenant_id, since, until):
            counts[row["model"]].update({name: int(row[name]) for name in row if name != "model"})
        for row in await repository.list_misses(session, tenant_id, since, until):
            counts[row["model"]].update({name: int(row[name]) for name in row if name != "model"})
        order = sorted(counts, key=lambda model: (-_hits(counts[model]), -counts[model]["misses"], model))
        total: Counter[str] = Counter()
        for each in counts.values():
            total.update(each)
        entries, size = await self._desk.size(tenant_id)
        return CacheStats(
            since=since,
            until=until,
            total=_shown_hits(total),
            models=[CacheModelHits(model=model, **dict(_shown_hits(counts[model]))) for model in order[:_MOST_MODELS]],
            entries=entries,
            size_bytes=size,
        )

    async def page(
        self, tenant_id: UUID, after: tuple[int, str] | None, limit: int
    ) -> tuple[list[CacheEntryOut], tuple[int, str] | None]:
        kept = await self._desk.page(tenant_id, after, limit)
        return [_shown(answer) for answer in kept.answers], kept.scanned

    async def neighbours(self, tenant_id: UUID, entry: str, *, shows_text: bool) -> list[CacheNeighbour]:
        return [_shown_neighbour(each, shows_text=shows_text) for each in await self._desk.neighbours(tenant_id, entry)]

    async def purge(self, session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: CachePurgeIn) -> int:
        """On every worker. Written down first: what nobody may know of does not happen."""
        seconds = wanted.older_than_seconds
        before = None if seconds is None else self._clock.now() - timedelta(seconds=seconds)
        said = wanted.model_dump(exclude_none=True, exclude_defaults=True)
        await audit.record(
            session, caller, "cache.purge", _OBJECT, wanted.entry or "all", None, said, tenant_id=tenant_id
        )
        await events.emit(session, tenant_id, events.CachePurged(wanted.entry, wanted.model, wanted.namespace, before))
        moment = None if before is None else before.timestamp()
        return await self._desk.purge(CachePurge(tenant_id, wanted.entry, wanted.model, wanted.namespace, moment))

    async def mark_wrong(self, session: AsyncSession, caller: Caller, tenant_id: UUID, entry: str) -> bool:
        await audit.record(session, caller, "cache.mark_wrong", _OBJECT, entry, tenant_id=tenant_id)
        await events.emit(session, tenant_id, events.CacheAnswerWrong(entry))
        return await self._desk.mark_wrong(tenant_id, entry)


def _hits(counted: Counter[str]) -> int:
    return sum(counted[name] for name in _HITS)


def _shown_hits(counted: Counter[str]) -> CacheHits:
    hits, misses = _hits(counted), counted["misses"]
    return CacheHits(
        exact=counted["exact"],
        coalesced=counted["coalesced"],
        semantic=counted["semantic"],
        misses=misses,
        bypassed=counted["bypassed"],
        hit_rate=round(hits / (hits + misses), 4) if hits + misses else None,
        saved_usd=format_usd(counted["saved_nano"]),
        saved_prompt_tokens=counted["prompt_tokens"],
        saved_completion_tokens=counted["completion_tokens"],
    )


def _shown(answer: KeptAnswer) -> CacheEntryOut:
    return CacheEntryOut(
        id=answer.id,
        model=answer.model,
        provider=answer.provider,
        upstream_model=answer.upstream_model,
        created_at=_moment(answer.created_at),
        expires_at=_moment(answer.expires_at),
        size_bytes=answer.size_bytes,
        is_stream=answer.is_stream,
        namespace=answer.namespace or None,
        api_key_id=answer.api_key_id,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        saved_usd=format_usd(answer.saved_nano),
        latency_ms=round(answer.seconds * 1000),
        is_guarded=answer.is_guarded,
    )


def _shown_neighbour(each: Neighbour, *, shows_text: bool) -> CacheNeighbour:
    guards = [
        GuardVerdict(guard=name, agrees=not reason, reason=(reason or None) if shows_text else None)
        for name, reason in each.verdicts.items()
    ]
    return CacheNeighbour(
        id=each.id,
        model=each.model,
        question=each.question if shows_text else None,
        created_at=_moment(each.created_at),
        score=round(each.score, 4),
        guards=guards,
        agrees=all(guard.agrees for guard in guards),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
