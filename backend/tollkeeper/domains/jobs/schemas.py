"""What the jobs API shows, and what a kind of job is."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import Field

from tollkeeper.core.ids import JobId, TenantId
from tollkeeper.web.schemas import Schema


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # an attempt failed, another will follow
    DEAD = "dead"  # every attempt failed; kept for a look and a retry
    CANCELLED = "cancelled"


class JobView(Schema):
    """A job as the API shows it. Its payload is not shown."""

    id: JobId
    tenant_id: TenantId | None = Field(description="Whose work it is; null for the platform's own.")
    kind: str
    status: JobStatus
    priority: int = Field(description="Higher goes first.")
    attempts: int
    max_attempts: int
    run_at: datetime = Field(description="When it may run, or ran last.")
    is_recurring: bool = Field(description="Put back after each run; cannot be cancelled.")
    progress: dict[str, Any] | None
    result: dict[str, Any] | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A job leased to this runner; `attempt` counts from 1."""

    id: UUID
    tenant_id: UUID | None
    kind: str
    payload: Mapping[str, Any]
    attempt: int
    max_attempts: int
    schedule_key: str | None
    lease_id: str


@dataclass(frozen=True, slots=True)
class Leftover:
    """Rows that have served: a table and the SQL condition under which they may go."""

    table: str
    condition: str


ReportProgress = Callable[[Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a handler gets beside its payload."""

    job_id: UUID
    tenant_id: UUID | None
    attempt: int
    progress: ReportProgress


# Returns the result to keep, or None. Runs at least once: a handler that is interrupted runs again.
Handler = Callable[[JobContext, Mapping[str, Any]], Awaitable[Mapping[str, Any] | None]]


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job: `every_seconds` makes it recurring, one row that is put back after each run."""

    name: str
    handler: Handler
    every_seconds: int | None = None
    max_attempts: int = 5
    timeout_seconds: float = 600
