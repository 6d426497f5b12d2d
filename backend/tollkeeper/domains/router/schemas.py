"""Payloads of the router."""

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from tollkeeper.contracts.target_health import TargetHealth
from tollkeeper.domains.catalog.schemas import CredentialId
from tollkeeper.web.pagination import Page
from tollkeeper.web.schemas import Schema, Word

# A vendor's own name for a model; some have spaces or more than a word may hold.
TargetModel = Annotated[str, StringConstraints(min_length=1, max_length=300)]
State = Literal["closed", "open", "half_open", "paused", "quarantined"]


_SHOWN: Final = 60


class TargetOut(Schema):
    """A provider's model with one credential, as this worker's own calls met it.

    `closed` is well; `open` lets nothing through, `half_open` a trial at a time; `paused`: the vendor asked for it
    (`Retry-After`); `quarantined`: it refused the credential. Only the platform's administrators see whose traffic it
    is measured by: `credential_id`, `in_flight`, `calls_per_minute` and `failures_per_minute` are null for others.
    """

    provider: str
    model: str
    credential_id: CredentialId | None
    state: State
    why: str | None = Field(description="What opened the breaker, until it closes.")
    since: datetime = Field(description="When the breaker last changed its state.")
    until: datetime | None = Field(description="When a call may be let through again.")
    latency_ms: int | None = Field(description="To the first token, with more weight on the slow ones.")
    latency_ms_p50: int | None
    latency_ms_p95: int | None
    error_share: float | None = Field(description="Of the last minute's calls; null without any.")
    in_flight: int | None
    calls_per_minute: int | None
    failures_per_minute: int | None
    is_suspect: bool = Field(description="Another worker had trouble there: the first failure opens the breaker.")


class TargetPage(Page[TargetOut]):
    """Each worker judges for itself: `worker_id` is the one that answered."""

    worker_id: str


class BreakerReset(Schema):
    """Of a whole provider, or of one model there, or of one credential, or of both."""

    provider: Word
    model: TargetModel | None = None
    credential_id: CredentialId | None = None


class BreakerResetOut(Schema):
    """`count`: how many targets of the worker that answered had something held against them; the others hear of it."""

    count: int
    worker_id: str


Position = tuple[str, str, str]


def position_of(health: TargetHealth) -> Position:
    """Where it stands in the list, which is in this order. Short enough for a cursor, whatever callers name a model."""
    place = f"{health.model} {health.credential_id}"
    return health.provider, health.model[:_SHOWN], sha256(place.encode()).hexdigest()[:32]
