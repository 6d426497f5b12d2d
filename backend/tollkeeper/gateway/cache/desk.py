"""The cache as the control plane sees it (`contracts.cache_desk`): on a connection with more patience than a call has."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID

from tollkeeper.contracts.cache_desk import CachePurge, Kept, KeptAnswer, Neighbour
from tollkeeper.core.redis import RedisUnavailable
from tollkeeper.gateway.cache.entry import Entry
from tollkeeper.gateway.cache.meaning import Meaning
from tollkeeper.gateway.cache.shelf import Purge, Shelf
from tollkeeper.gateway.cache.store import Listed, Store

_MS = 1_000


class Desk:
    def __init__(self, shelf: Shelf, store: Store, meaning: Meaning, hear: Callable[[bytes], None]) -> None:
        """`shelf` is the desk's own, over `store`; `hear` tells the one that calls use, here and at once."""
        self._shelf = shelf
        self._store = store
        self._meaning = meaning
        self._hear = hear

    async def page(self, tenant_id: UUID, after: tuple[int, str] | None, limit: int) -> Kept:
        listed = await self._store.listed(tenant_id, after, limit + 1)
        page = listed[:limit]
        entries = await self._shelf.entries(tenant_id, [each.id for each in page])
        answers = [_kept(entry, each) for entry, each in zip(entries, page, strict=True) if entry is not None]
        return Kept(answers, (page[-1].ends_ms, page[-1].id) if len(listed) > limit else None)

    async def size(self, tenant_id: UUID) -> tuple[int, int]:
        return await self._store.size(tenant_id)

    async def purge(self, purge: CachePurge) -> int:
        wanted = Purge(purge.tenant_id, purge.entry, purge.model, purge.namespace, purge.before)
        gone = await self._shelf.purge(wanted)
        self._hear(wanted.write())
        tier = await self._meaning.opened()
        if purge.entry is not None:
            tier.forget(purge.tenant_id, bytes.fromhex(purge.entry))
        elif purge.namespace is None:
            tier.purge(purge.tenant_id, model=purge.model, before=purge.before)
        # Questions do not tell their namespace: one whose answer is gone is forgotten when it is next looked for.
        return gone

    async def neighbours(self, tenant_id: UUID, entry: str) -> Sequence[Neighbour]:
        tier = await self._meaning.opened()
        with suppress(RedisUnavailable):
            await tier.catch_up(tenant_id)
        return [
            Neighbour(
                known.fingerprint.hex(),
                known.model,
                known.turn,
                known.created_at,
                float(candidate.score),
                candidate.verdicts,
            )
            for known, candidate in tier.neighbours(tenant_id, bytes.fromhex(entry))
        ]

    async def mark_wrong(self, tenant_id: UUID, entry: str) -> bool:
        wanted = Purge(tenant_id, entry)
        is_gone = await self._shelf.purge(wanted) > 0
        self._hear(wanted.write())
        if is_gone:
            (await self._meaning.opened()).mark_wrong(tenant_id, bytes.fromhex(entry))
        return is_gone


def _kept(entry: Entry, listed: Listed) -> KeptAnswer:
    usage = entry.usage
    return KeptAnswer(
        id=entry.id,
        model=entry.model,
        provider=entry.provider,
        upstream_model=entry.upstream_model,
        created_at=entry.created_at,
        expires_at=listed.ends_ms / _MS,
        size_bytes=listed.size,
        is_stream=entry.is_stream,
        namespace=entry.namespace,
        api_key_id=entry.key_id,
        prompt_tokens=None if usage is None else usage.prompt_tokens,
        completion_tokens=None if usage is None else usage.completion_tokens,
        saved_nano=entry.saved_nano,
        seconds=entry.seconds,
        is_guarded=bool(entry.guard),
    )
