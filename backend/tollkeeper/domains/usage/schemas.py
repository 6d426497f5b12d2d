"""What the usage routes take and answer. `cost_usd` is what the tenant is charged."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Annotated, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, Field

from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.ids import KeyId, ProjectId, RequestId, TeamId, TenantId, UserId
from tollkeeper.web.schemas import Schema

# Sums of what was charged, exact; corrections may make one negative.
Amount = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$", examples=["0.0198"])]
DEFAULT_DAYS: Final = 30
MAX_GROUPS: Final = 10_000
MAX_DIMENSIONS: Final = 4
# Arithmetic on times stays inside what every library takes; the ledger lies well within.
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2999, 1, 1, tzinfo=UTC)

TIMES: Final = frozenset({"hour", "day", "week", "month"})
TAG: Final = "tag:"
# A word of `group_by` → the field of a group that it fills. `tag:<name>` fills `tags`.
FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "model": "model",
        "key": "api_key_id",
        "tenant": "tenant_id",
        "user": "user_id",
        "team": "team_id",
        "project": "project_id",
        "provider": "provider",
        "hour": "hour",
        "day": "day",
        "week": "week",
        "month": "month",
        "end_user": "end_user",
        "run_id": "run_id",
    }
)
# What rows have and rollups have not.
FINER: Final = ("end_user", "run_id")
_WORD: Final = rf"({'|'.join(FIELDS)}|tag:[A-Za-z0-9][A-Za-z0-9._-]{{0,63}})"
GROUP_PATTERN: Final = rf"^{_WORD}(,{_WORD})*$"


@dataclass(frozen=True, slots=True)
class Filters:
    """Which calls to look at; None and () look at all. `since` is inside, `until` outside. `owner_id`: who sees but their own."""

    since: datetime
    until: datetime
    tenant_id: UUID | None = None
    owner_id: UUID | None = None
    api_key_id: tuple[UUID, ...] = ()
    user_id: tuple[UUID, ...] = ()
    team_id: tuple[UUID, ...] = ()
    project_id: tuple[UUID, ...] = ()
    model: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    end_user: tuple[str, ...] = ()
    run_id: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    status: CallStatus | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """Sums of which calls, by what, with days and weeks as they begin in which zone."""

    filters: Filters
    group_by: tuple[str, ...] = ()
    zone: str = "UTC"
    with_percentiles: bool = False


def zone_info(name: str) -> tzinfo:
    """UTC is there without a time zone database."""
    return UTC if name == "UTC" else ZoneInfo(name)


def moment(value: datetime | None, zone: str) -> datetime | None:
    """A time without a zone is meant in `zone`."""
    if value is None:
        return None
    if value.year <= EARLIEST.year:
        return EARLIEST
    if value.year >= LATEST.year:
        return LATEST
    return (value if value.tzinfo is not None else value.replace(tzinfo=zone_info(zone))).astimezone(UTC)


def period(since: datetime | None, until: datetime | None, now: datetime, zone: str) -> tuple[datetime, datetime]:
    """The last `DEFAULT_DAYS` days, today included, where the caller names no bounds. Empty when they are reversed."""
    end = moment(until, zone) or now + timedelta(minutes=1)
    if since is not None:
        return moment(since, zone) or EARLIEST, end
    first = (end - timedelta(days=DEFAULT_DAYS)).astimezone(zone_info(zone))
    return max(EARLIEST, first.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)), end


class UsageSums(Schema):
    requests: int = Field(description="Attempts that were billed or answered; a retry that was not billed adds none.")
    errors: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    input_tokens: int = Field(description="Text in, not from a cache and not written to one; part of `prompt_tokens`.")
    cache_read_tokens: int = Field(description="Part of `prompt_tokens`, as the next four are.")
    cache_write_tokens: int
    cache_write_1h_tokens: int
    input_audio_tokens: int
    input_image_tokens: int
    output_tokens: int = Field(description="Visible text; part of `completion_tokens`, as the next three are.")
    reasoning_tokens: int
    output_audio_tokens: int
    output_image_tokens: int
    cost_usd: Amount = Field(description="What the tenant is charged.")
    provider_cost_usd: Amount | None = Field(description="What the providers take; for platform administrators.")
    unpriced_requests: int = Field(description="Calls of models without a price; they are not in `cost_usd`.")
    average_latency_ms: int
    p50_latency_ms: int | None = Field(default=None, description="With `percentiles=true`.")
    p95_latency_ms: int | None = Field(default=None, description="With `percentiles=true`.")


class UsageGroup(UsageSums):
    """One row of a grouped answer: the fields of `group_by` are set, the others null."""

    model: str | None = None
    provider: str | None = None
    api_key_id: KeyId | None = None
    user_id: UserId | None = None
    tenant_id: TenantId | None = None
    team_id: TeamId | None = None
    project_id: ProjectId | None = None
    hour: AwareDatetime | None = None
    day: AwareDatetime | None = Field(default=None, description="When the day begins in `zone`; weeks on Monday.")
    week: AwareDatetime | None = None
    month: AwareDatetime | None = None
    end_user: str | None = None
    run_id: str | None = None
    tags: dict[str, str | None] | None = None


class UsageReport(Schema):
    data: list[UsageGroup]
    next_cursor: str | None = None
    totals: UsageSums
    is_truncated: bool = Field(
        description=f"More than {MAX_GROUPS} groups: narrow the period or the filters, or take the export."
    )
    since: AwareDatetime
    until: AwareDatetime
    zone: str


class UsageRecord(Schema):
    """One call; its billed attempts are added up, and what was estimated and became known later is the truth."""

    request_id: RequestId
    api_key_id: KeyId
    user_id: UserId | None
    team_id: TeamId | None
    project_id: ProjectId | None
    end_user: str | None
    run_id: str | None
    tags: dict[str, str]
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
    team_id: UUID | None
    project_id: UUID | None
    end_user: str | None
    run_id: str | None
    tags: dict[str, str] | None
    model: str
    provider: str
    prompt_tokens: int
    completion_tokens: int
    charge_nano: int | None
    latency_ms: int
    status: str
    is_estimated: bool
    created_at: datetime
