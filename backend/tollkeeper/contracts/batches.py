"""A batch of calls as OpenAI's Batch API has it, and the answer that one of its calls was given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

from tollkeeper.core.errors import TollkeeperError

WINDOW: Final = "24h"
WINDOW_SECONDS: Final = 86_400
# What a line of a batch may call, as it stands in `endpoint` and in each line's `url`.
ENDPOINTS: Final = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/images/generations",
    "/v1/messages",
    "/v1/moderations",
    "/v1/rerank",
    "/v1/responses",
)


class BatchStatus(StrEnum):
    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


OPEN: Final = frozenset(
    {BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS, BatchStatus.FINALIZING, BatchStatus.CANCELLING}
)


@dataclass(frozen=True, slots=True)
class BatchProblem:
    """Why a batch failed; `line` counts from 1."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class NewBatch:
    """`output_seconds`: how long its output and error files are kept, where the caller says so."""

    endpoint: str
    input_file_id: UUID
    metadata: Mapping[str, str] | None = None
    output_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Times in whole seconds since 1970, each by the name of its field in OpenAI's object."""

    id: UUID
    endpoint: str
    status: BatchStatus
    input_file_id: UUID
    times: Mapping[str, int | None]
    total: int = 0
    completed: int = 0
    failed: int = 0
    output_file_id: UUID | None = None
    error_file_id: UUID | None = None
    metadata: Mapping[str, str] | None = None
    model: str | None = None
    errors: Sequence[BatchProblem] | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a call that was made inside: the bytes a caller would have got, and the error behind a refusal."""

    request_id: UUID
    status: int
    body: bytes
    error: TollkeeperError | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
