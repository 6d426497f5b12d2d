"""Cache policies: which answers may be given again, to whom, and for how long. No policy, no cache.

One policy holds for a call: the most specific that is attached. One without rules switches the cache off where it holds.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from tollkeeper.contracts.chat import Operation
from tollkeeper.contracts.guardrails import Level


class Sharing(StrEnum):
    """Who shares what one of them was answered. Nothing is ever shared between tenants."""

    TENANT = "tenant"
    PROJECT = "project"
    USER = "user"
    KEY = "key"


class CacheResult(StrEnum):
    """What became of a call here, as `x-tollkeeper-cache` begins."""

    MISS = "miss"
    EXACT = "exact"
    COALESCED = "coalesced"
    SEMANTIC = "semantic"
    # Nothing was looked for: the caller, or what it asks for, does not allow it.
    BYPASS = "bypass"


HEADER: Final = "x-tollkeeper-cache"
# Answers that came from here and not from a provider.
HITS: Final = frozenset({CacheResult.EXACT, CacheResult.COALESCED, CacheResult.SEMANTIC})


def result_of(header: str | None) -> CacheResult | None:
    """What the header says, its details left aside."""
    if header is None:
        return None
    word = header.partition(";")[0].strip()
    return CacheResult(word) if word in _WORDS else None


_WORDS: Final = frozenset(CacheResult)

# What is asked for again and again, and answered in words or numbers.
USUAL_OPERATIONS: Final = frozenset(
    {Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS, Operation.MODERATIONS, Operation.RERANK}
)


class Settle(StrEnum):
    """Who pays for an answer that several waited for."""

    OWNER = "owner"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class ExactRule:
    """Gives the answer of a call to calls that ask for the same to the letter."""

    ttl_seconds: int = 3_600
    sharing: Sharing = Sharing.TENANT
    operations: frozenset[Operation] = USUAL_OPERATIONS
    # Only what is to come out the same each time: a temperature of 0, a seed, or no chance in it at all.
    only_deterministic: bool = False
    most_entry_bytes: int = 1_048_576


@dataclass(frozen=True, slots=True)
class CoalesceRule:
    """Calls that ask for the same at the same time wait for one answer."""

    settle: Settle = Settle.OWNER
    sharing: Sharing = Sharing.TENANT


@dataclass(frozen=True, slots=True)
class SemanticRule:
    """Gives the answer of a call to calls that mean the same. `embedder` "": the local model; else a model's name."""

    ttl_seconds: int = 3_600
    sharing: Sharing = Sharing.PROJECT
    # The most of the answers given that may be wrong.
    delta_millionths: int = 20_000
    most_temperature: float = 0.3
    embedder: str = ""
    # Only for calls that ask for it.
    is_opt_in: bool = False
    # Whose measured threshold holds; None: the one that was measured over all.
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """`marks`: put prompt-cache marks into calls that have none, for vendors that want to be told."""

    id: UUID
    name: str
    version: int
    exact: ExactRule | None = None
    coalesce: CoalesceRule | None = None
    semantic: SemanticRule | None = None
    marks: bool = False
    # None: of the platform.
    tenant_id: UUID | None = None
    is_managed_by_file: bool = False


@dataclass(frozen=True, slots=True)
class CacheAttachment:
    """`subject`: the id of the tenant, team, project or key, or the model's name (may end in `*`); None: of the platform."""

    policy: CachePolicy
    level: Level
    subject: UUID | str | None = None
