"""What is kept of a finished call for whoever looks it up later: figures and names, never content."""

from typing import NamedTuple
from uuid import UUID

from tollkeeper.contracts.principal import Principal


class CallRecord(NamedTuple):
    """One call as it ended. A tuple, because one is made in each call's last moment; times in seconds."""

    request_id: UUID
    principal: Principal
    operation: str
    # The caller's.
    dialect: str
    # As the caller named it; None where the call was refused before it was read.
    model: str | None
    is_stream: bool
    end_user: str | None
    # Where the answer came from, or the last attempt went; None where nothing was sent.
    provider: str | None
    upstream_model: str | None
    attempts: int
    # `Ending` of the exchange: done, failed, dropped.
    ending: str
    http_status: int
    error_code: str | None
    seconds: float
    overhead_seconds: float
    first_token_seconds: float | None
    prompt_tokens: int
    completion_tokens: int
    charge_nano: int | None
    cache: str | None
    guardrail: str | None
    client_request_id: str | None
