"""What the control plane sees of the cache and does to it. Implemented in the gateway, handed over by `wiring`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class CachePurge:
    """What of a tenant goes: all that is said must be so; nothing said: everything. `before`: seconds since 1970."""

    tenant_id: UUID
    entry: str | None = None
    model: str | None = None
    namespace: str | None = None
    before: float | None = None


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An entry without its content. Times are seconds since 1970; `size_bytes` is what it takes up in Redis."""

    id: str
    model: str
    provider: str
    upstream_model: str
    created_at: float
    expires_at: float
    size_bytes: int
    is_stream: bool
    namespace: str
    api_key_id: UUID | None
    prompt_tokens: int | None
    completion_tokens: int | None
    saved_nano: int
    seconds: float
    is_guarded: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """A page. `scanned`: the place of the last one looked at, to go on from; None: there are no more."""

    answers: Sequence[KeptAnswer]
    scanned: tuple[int, str] | None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An answered question beside another one. `verdicts`: of each guard why it refuses; empty where it agrees."""

    id: str
    model: str
    question: str
    created_at: float
    score: float
    verdicts: Mapping[str, str]


class CacheDesk(Protocol):
    """All raise `DependencyUnavailable` when Redis does not answer, unless they say otherwise."""

    async def page(self, tenant_id: UUID, after: tuple[int, str] | None, limit: int) -> Kept:
        """Those that end last first; `after`: when one ends, in milliseconds since 1970, and its id."""
        ...

    async def size(self, tenant_id: UUID) -> tuple[int, int]:
        """Entries and bytes in Redis."""
        ...

    async def purge(self, purge: CachePurge) -> int:
        """On every worker; how many entries went from Redis."""
        ...

    async def neighbours(self, tenant_id: UUID, entry: str) -> Sequence[Neighbour]:
        """Of an entry of the semantic cache, as this worker knows it; none for one that it does not know. Never raises."""
        ...

    async def mark_wrong(self, tenant_id: UUID, entry: str) -> bool:
        """An observation, and nobody gets it again. False: there was no such entry any more."""
        ...
