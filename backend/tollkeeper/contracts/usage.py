"""What a call leaves behind: the two journal lines (`Intent`, `Settlement`) and the ledger row they become."""

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from tollkeeper.contracts.chat import Usage


class CallStatus(StrEnum):
    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    BLOCKED = "blocked"
    CACHED = "cached"


class LedgerKind(StrEnum):
    """One row per billed attempt and kind: a later truth adds a `correction`, nothing is ever rewritten."""

    SETTLED = "settled"
    INTERRUPTED = "interrupted"
    CORRECTION = "correction"


@dataclass(slots=True)  # not frozen: made for every attempt, and freezing doubles its price; nobody changes one
class Intent:
    """Written before a request leaves for a provider: enough to write an `interrupted` row if nothing else follows.

    Amounts are integer nano-dollars; None means unpriced. `created_unix_ms` is the time inside `request_id`.
    """

    request_id: UUID
    attempt: int
    tenant_id: UUID
    key_id: UUID
    user_id: UUID | None
    operation: str
    model: str  # as the caller named it
    provider: str
    upstream_model: str
    estimated_input_tokens: int
    price_version: UUID | None
    estimated_cost_nano: int | None
    is_stream: bool = False
    environment: str = "live"
    end_user: str | None = None
    team_id: UUID | None = None
    project_id: UUID | None = None
    # The key's, as its levels narrow them. Here and not with the ending, so that an interrupted call has them too.
    tags: dict[str, str] | None = None
    # The counters this attempt is charged to (`money.counter_ref`); those of the platform begin with `@` and take the cost.
    budgets: tuple[str, ...] = ()
    run_id: str | None = None
    # What the tenant would be charged for `estimated_cost_nano`; None: just that.
    estimated_charge_nano: int | None = None
    # Which of its call's holds pays for it; 0 the first.
    hold: int = 0

    @property
    def hold_id(self) -> UUID:
        """The record that holds its money."""
        return hold_id(self.request_id, self.hold)


def hold_id(request_id: UUID, number: int) -> UUID:
    """A call's own id for its first hold; the others differ in the last bits, so that people see what belongs together."""
    return UUID(int=request_id.int ^ number) if number else request_id


@dataclass(slots=True)  # as `Intent`
class Settlement:
    """How an attempt ended. `cost_nano` is what the vendor takes, `charge_nano` what the tenant is charged."""

    intent: Intent
    status: CallStatus
    usage: Usage
    cost_nano: int | None
    charge_nano: int | None
    latency_ms: int
    first_token_ms: int | None = None
    http_status: int = 200
    error_code: str | None = None
    kind: LedgerKind = LedgerKind.SETTLED
    # The caller's own x-request-id or the SDK's idempotency key, only for looking things up.
    client_request_id: str | None = None
    upstream_request_id: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
