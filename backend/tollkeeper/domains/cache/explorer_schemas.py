"""What the cache's explorer is asked and answers."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from tollkeeper.core.ids import KeyId
from tollkeeper.domains.usage.schemas import Amount
from tollkeeper.web.schemas import Schema, Word

_YEAR = 365 * 86_400

EntryName = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class CacheHits(Schema):
    """Answers that were given again, and what they would have cost."""

    exact: int
    coalesced: int
    semantic: int
    misses: int = Field(description="Calls under a policy whose answer was not there; as far as the request log keeps.")
    bypassed: int = Field(description="Calls under a policy that asked for none of it, or have no answer to keep.")
    hit_rate: float | None = Field(description="Hits among hits and misses; null without either.")
    saved_usd: Amount = Field(description="What the tenant was not charged.")
    saved_prompt_tokens: int
    saved_completion_tokens: int


class CacheModelHits(CacheHits):
    model: str


class CacheStats(Schema):
    since: datetime
    until: datetime
    total: CacheHits
    models: list[CacheModelHits] = Field(description="Those with the most hits first, 100 at most.")
    entries: int = Field(description="In Redis, at the moment.")
    size_bytes: int


class CacheEntryOut(Schema):
    """An answer that is kept, without what it says."""

    id: EntryName
    model: str
    provider: str
    upstream_model: str
    created_at: datetime
    expires_at: datetime
    size_bytes: int
    is_stream: bool = Field(description="How it came; it is given again either way.")
    namespace: str | None
    api_key_id: KeyId | None = Field(description="Whose call made it.")
    prompt_tokens: int | None
    completion_tokens: int | None
    saved_usd: Amount = Field(description="What it was charged, and each hit saves.")
    latency_ms: int = Field(description="How long its caller waited.")
    is_guarded: bool = Field(description="Guardrails have passed it; while they stay the same it is given again.")


class GuardVerdict(Schema):
    guard: str
    agrees: bool
    reason: str | None = Field(None, description="It quotes the questions: for who may read the audit trail.")


class CacheNeighbour(Schema):
    """A question beside another one, and why its answer would or would not be given in the other's place."""

    id: EntryName
    model: str
    question: str | None = Field(description="For who may read the audit trail.")
    created_at: datetime
    score: float = Field(description="How alike they are, 1 at most.")
    guards: list[GuardVerdict]
    agrees: bool = Field(description="No guard refuses; a score over the policy's threshold is needed as well.")


class CacheNeighbours(Schema):
    data: list[CacheNeighbour]


class CachePurgeIn(Schema):
    """All that is said must be so of what goes. Everything of a tenant goes with `everything` alone."""

    entry: EntryName | None = None
    model: Word | None = Field(None, description="As callers name it, or the provider's.")
    namespace: Word | None = Field(None, description="As calls named it.")
    older_than_seconds: int | None = Field(None, ge=0, le=_YEAR, strict=True)
    everything: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        says = any(value is not None for value in (self.entry, self.model, self.namespace, self.older_than_seconds))
        if says == self.everything:
            raise ValueError("say what goes (entry, model, namespace, older_than_seconds), or everything: true")
        return self


class CachePurgeOut(Schema):
    count: int = Field(description="Entries that went from Redis; every worker's memory follows within a second.")


class CacheWrongIn(Schema):
    entry: EntryName


class CacheWrongOut(Schema):
    evicted: bool = Field(description="False: there was no such entry any more.")
