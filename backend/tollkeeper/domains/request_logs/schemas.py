"""What a finished call looks like to who asks, and what may be asked."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from tollkeeper.core.ids import KeyId, ProjectId, RequestId, TeamId, TenantId, UserId
from tollkeeper.web.schemas import Schema

Usd = Annotated[str, Field(description="US dollars, a decimal.")]


class RequestStatus(StrEnum):
    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"
    CACHED = "cached"


class Ended(StrEnum):
    """`refused`: before anything was sent to a provider."""

    COMPLETED = "completed"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Filters:
    """`owner_id`: the calls of this person's keys alone. `request_text`: as people paste it."""

    since: datetime
    until: datetime
    tenant_id: UUID | None = None
    owner_id: UUID | None = None
    api_key_id: tuple[UUID, ...] = ()
    user_id: tuple[UUID, ...] = ()
    project_id: tuple[UUID, ...] = ()
    model: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    min_latency_ms: int | None = None
    min_cost_nano: int | None = None
    request_text: str | None = None


class Request(Schema):
    """One call that is over. Bodies are not in it."""

    request_id: RequestId
    client_request_id: str | None = Field(description="The caller's own id of it.")
    created_at: AwareDatetime
    tenant_id: TenantId
    api_key_id: KeyId
    user_id: UserId | None
    team_id: TeamId | None
    project_id: ProjectId | None
    environment: str
    run_id: str | None
    end_user: str | None
    operation: str
    dialect: str = Field(description="The caller's API.")
    model: str | None = Field(description="As the caller named it; null where the call was refused unread.")
    provider: str | None = Field(description="Where the last attempt went; null where nothing was sent.")
    upstream_model: str | None
    is_stream: bool
    status: RequestStatus
    http_status: int
    error_code: str | None
    ended: Ended
    attempts: int
    latency_ms: int
    first_token_ms: int | None
    overhead_ms: float = Field(description="The gateway's own share of the time.")
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Usd | None = Field(description="Null without a price, or where it was not known yet when the call ended.")
    cache: str | None
    guardrail: str | None


class RequestAttempt(Schema):
    """One attempt as the ledger has it; what was estimated and became known later is the truth."""

    attempt: int
    provider: str
    upstream_model: str
    status: str
    http_status: int
    error_code: str | None
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Usd | None
    latency_ms: int
    first_token_ms: int | None
    estimated: bool
    upstream_request_id: str | None


class RequestDetail(Request):
    billed: list[RequestAttempt] = Field(
        description="The attempts that may have cost something, and the last one, as soon as they are in the ledger."
    )
