"""What the usage routes take and answer. `cost_usd` is what the tenant is charged."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final
from uuid import UUID

from pydantic import AwareDatetime, Field

from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.ids import KeyId, RequestId, TenantId, UserId
from tollkeeper.web.schemas import Schema

# Sums of what was charged, exact; corrections may make one negative.
Amount = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$", examples=["0.0198"])]
DEFAULT_DAYS: Final = 30
MAX_GROUPS: Final = 10_000
# Arithmetic on times stays inside what every library takes; the ledger lies well within.
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2999, 1, 1, tzinfo=UTC)


class GroupBy(StrEnum):
    MODEL = "model"
    KEY = "key"
    TENANT = "tenant"
    USER = "user"
    PROVIDER = "provider"
    DAY = "day"
    HOUR = "hour"


# The field of a group that a word of `group_by` fills.
FIELDS: Final[Mapping[GroupBy, str]] = MappingProxyType(
    {
        GroupBy.MODEL: "model",
        GroupBy.KEY: "api_key_id",
        GroupBy.TENANT: "tenant_id",
        GroupBy.USER: "user_id",
        GroupBy.PROVIDER: "provider",
        GroupBy.DAY: "day",
        GroupBy.HOUR: "hour",
    }
)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which calls to look at; None looks at all. `since` is inside, `until` outside. `owner_id`: who sees but their own."""

    since: datetime
    until: datetime
    tenant_id: UUID | None = None
    owner_id: UUID | None = None
    api_key_id: UUID | None = None
    user_id: UUID | None = None
    model: str | None = None
    provider: str | None = None
    status: CallStatus | None = None


def period(since: datetime | None, until: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """The last `DEFAULT_DAYS` days, today included, where the caller names no bounds. Empty when they are reversed."""
    end = max(EARLIEST, min(until or now + timedelta(minutes=1), LATEST))
    start = since or datetime.combine((end - timedelta(days=DEFAULT_DAYS)).date(), time(), UTC)
    return max(start, EARLIEST), end


class UsageSums(Schema):
    requests: int = Field(description="Attempts that were billed or answered; a retry that was not billed adds none.")
    errors: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cache_read_tokens: int = Field(description="Part of `prompt_tokens`.")
    cost_usd: Amount
    unpriced_requests: int = Field(description="Calls of models without a price; they are not in `cost_usd`.")
    average_latency_ms: int


class UsageGroup(UsageSums):
    """One row of a grouped answer: the fields of `group_by` are set, the others null."""

    model: str | None = None
    provider: str | None = None
    api_key_id: KeyId | None = None
    user_id: UserId | None = None
    tenant_id: TenantId | None = None
    day: datetime | None = None
    hour: datetime | None = None


class UsageReport(Schema):
    data: list[UsageGroup]
    next_cursor: str | None = None
    totals: UsageSums
    is_truncated: bool = Field(description=f"More than {MAX_GROUPS} groups: narrow the period or the filters.")
    since: AwareDatetime
    until: AwareDatetime


class UsageRecord(Schema):
    """One call; its billed attempts are added up."""

    request_id: RequestId
    api_key_id: KeyId
    user_id: UserId | None
    model: str
    provider: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Amount | None = Field(description="Null for a model without a price.")
    latency_ms: int
    status: CallStatus
    estimated: bool
    created_at: AwareDatetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One ledger row as the records need it."""

    request_id: UUID
    attempt: int
    kind: str
    api_key_id: UUID
    user_id: UUID | None
    model: str
    provider: str
    prompt_tokens: int
    completion_tokens: int
    charge_nano: int | None
    latency_ms: int
    status: str
    is_estimated: bool
    created_at: datetime
