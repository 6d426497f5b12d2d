"""Cache policies as they stand in the file: which answers are given again, to whom, and for how long."""

from typing import Annotated, Literal, Self, cast

from pydantic import Field, model_validator

from tollkeeper.contracts.cache import USUAL_OPERATIONS, Settle, Sharing
from tollkeeper.contracts.chat import Operation
from tollkeeper.web.schemas import Pattern, Schema

_YEAR = 365 * 86_400
Seconds = Annotated[int, Field(ge=1, le=_YEAR)]
# A count, a passed-on request and a tuning job have no answer that could be given again.
CacheOperation = Literal[
    Operation.CHAT,
    Operation.COMPLETIONS,
    Operation.EMBEDDINGS,
    Operation.MODERATIONS,
    Operation.RERANK,
    Operation.IMAGE_GENERATIONS,
    Operation.SPEECH,
    Operation.TRANSCRIPTIONS,
    Operation.TRANSLATIONS,
]


class ExactFields(Schema):
    """Answers to calls that ask for the same to the letter."""

    ttl_seconds: Seconds = Field(3_600, description="How long an answer is given again.")
    sharing: Sharing = Field(
        Sharing.TENANT, description="Who shares answers: tenant, project, user or key. Tenants never share."
    )
    operations: frozenset[CacheOperation] = Field(
        default_factory=lambda: cast(frozenset[CacheOperation], USUAL_OPERATIONS),
        min_length=1,
        description="Of which operations; left out: chat, completions, embeddings, moderations and rerank.",
    )
    only_deterministic: bool = Field(
        default=False, description="Only calls with a temperature of 0 or a seed; embeddings and the like always."
    )
    most_entry_bytes: int = Field(1_048_576, ge=1_024, le=16_777_216, description="A larger answer is not kept.")


class CoalesceFields(Schema):
    """Calls that ask for the same at the same time wait for one answer."""

    settle: Settle = Field(Settle.OWNER, description="Who pays: owner, the first one, or shared, each a part.")
    sharing: Sharing = Field(Sharing.TENANT, description="Whose calls wait together: tenant, project, user or key.")


class SemanticFields(Schema):
    """Answers to calls that mean the same: a single question, no tools, a low temperature."""

    ttl_seconds: Seconds = Field(3_600, description="How long an answer is given again.")
    sharing: Sharing = Field(Sharing.PROJECT, description="Who shares answers: tenant, project, user or key.")
    delta: float = Field(0.02, gt=0, le=0.5, description="The most of the answers given that may be wrong.")
    most_temperature: float = Field(0.3, ge=0, le=2, description="Calls with a higher one, or none, are asked for.")
    embedder: Pattern | None = Field(None, description="The embeddings model of the gateway; left out: the local one.")
    opt_in: bool = Field(default=False, description="Only for calls that ask for it.")
    domain: Pattern | None = Field(None, description="Whose measured threshold holds; left out: the one over all.")


class CacheFields(Schema):
    """What a cache policy says, wherever it is attached. The most specific policy holds for a call, alone."""

    exact: ExactFields | None = Field(None, description="Give answers again to the letter.")
    coalesce: CoalesceFields | None = Field(None, description="Ask once for what is asked for at the same time.")
    semantic: SemanticFields | None = Field(None, description="Give answers again by meaning, within a bound.")
    prompt_cache_marks: bool = Field(
        default=False, description="Put prompt-cache marks into calls without any, for providers that want them."
    )
    off: Literal[True] | None = Field(None, description="No cache where this holds, whatever holds above it.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        says = bool(self.exact or self.coalesce or self.semantic or self.prompt_cache_marks)
        if says == bool(self.off):
            raise ValueError("say what the cache does (exact, coalesce, semantic, prompt_cache_marks), or off: true")
        return self
