"""The ledger and its rollups. Rows are written once, by the shipper; days are dropped, never deleted."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Computed, Date, Index, SmallInteger, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base


def _tokens() -> Mapped[int]:
    return mapped_column(BigInteger, default=0, server_default="0")


class LedgerRow:
    """One billed attempt. `day` is the UTC day inside the request's UUIDv7: a line shipped late lands in its own day.

    An attempt is `settled` or `interrupted`, once. A settlement that comes after an interruption adds a `correction`.
    """

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    request_id: Mapped[UUID] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    kind: Mapped[str]
    api_key_id: Mapped[UUID]
    user_id: Mapped[UUID | None]
    environment: Mapped[str]
    operation: Mapped[str]
    model: Mapped[str]
    provider: Mapped[str]
    upstream_model: Mapped[str]
    status: Mapped[str]
    http_status: Mapped[int]
    error_code: Mapped[str | None]
    is_stream: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    is_estimated: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    input_tokens: Mapped[int] = _tokens()
    cache_read_tokens: Mapped[int] = _tokens()
    cache_write_tokens: Mapped[int] = _tokens()
    cache_write_1h_tokens: Mapped[int] = _tokens()
    input_audio_tokens: Mapped[int] = _tokens()
    input_image_tokens: Mapped[int] = _tokens()
    output_tokens: Mapped[int] = _tokens()
    reasoning_tokens: Mapped[int] = _tokens()
    output_audio_tokens: Mapped[int] = _tokens()
    output_image_tokens: Mapped[int] = _tokens()
    # None: unpriced. Cost is what the vendor takes, charge what the tenant is charged.
    cost_nano: Mapped[int | None] = mapped_column(BigInteger)
    charge_nano: Mapped[int | None] = mapped_column(BigInteger)
    price_version: Mapped[UUID | None]
    latency_ms: Mapped[int]
    first_token_ms: Mapped[int | None]
    run_id: Mapped[str | None]
    team_id: Mapped[UUID | None]
    tags: Mapped[dict[str, Any] | None]
    end_user: Mapped[str | None]
    resource_type: Mapped[str] = mapped_column(default="tokens", server_default="tokens")
    quantity: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    client_request_id: Mapped[str | None]
    upstream_request_id: Mapped[str | None]
    created_at: Mapped[datetime]
    shipped_at: Mapped[datetime] = mapped_column(server_default=func.now())
    project_id: Mapped[UUID | None]
    # The counters its amounts are in (`contracts.money.counter_ref`); NULL for none.
    budgets: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    is_correction: Mapped[bool] = mapped_column(Computed("kind = 'correction'::text", persisted=True), primary_key=True)


class UsageLog(LedgerRow, Base):
    """No foreign keys: the ledger outlives the keys and users it names."""

    __tablename__ = "usage_logs"
    __table_args__ = (
        CheckConstraint("kind IN ('settled', 'interrupted', 'correction')", name="kind"),
        CheckConstraint("status IN ('ok', 'error', 'cancelled', 'interrupted', 'blocked', 'cached')", name="status"),
        Index("ix_usage_logs_tenant_id_created_at", "tenant_id", text("created_at DESC"), "request_id"),
        Index("ix_usage_logs_tenant_id_api_key_id", "tenant_id", "api_key_id", text("created_at DESC")),
        {"postgresql_partition_by": "RANGE (day)"},
    )


class UsageLate(LedgerRow, Base):
    """Lines that came after their day was dropped."""

    __tablename__ = "usage_late"


class _Sums:
    """The zero UUID is no user, team or project: a primary key holds no NULL."""

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    api_key_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str] = mapped_column(primary_key=True)
    requests: Mapped[int] = _tokens()
    errors: Mapped[int] = _tokens()
    prompt_tokens: Mapped[int] = _tokens()
    completion_tokens: Mapped[int] = _tokens()
    cache_read_tokens: Mapped[int] = _tokens()
    cache_write_tokens: Mapped[int] = _tokens()
    cache_write_1h_tokens: Mapped[int] = _tokens()
    input_audio_tokens: Mapped[int] = _tokens()
    input_image_tokens: Mapped[int] = _tokens()
    reasoning_tokens: Mapped[int] = _tokens()
    output_audio_tokens: Mapped[int] = _tokens()
    output_image_tokens: Mapped[int] = _tokens()
    cost_nano: Mapped[int] = _tokens()
    charge_nano: Mapped[int] = _tokens()
    latency_ms_sum: Mapped[int] = _tokens()
    unpriced_requests: Mapped[int] = _tokens()


class UsageRollup(_Sums, Base):
    """Sums an hour."""

    __tablename__ = "usage_rollups"

    hour: Mapped[datetime] = mapped_column(primary_key=True)

    __table_args__ = (Index("ix_usage_rollups_tenant_id_hour", "tenant_id", "hour"),)


class UsageDay(_Sums, Base):
    """Sums a day of UTC, made of its hours once it is over. Every day up to the last one that has a row is complete."""

    __tablename__ = "usage_days"

    day: Mapped[date] = mapped_column(Date, primary_key=True)

    __table_args__ = (Index("ix_usage_days_tenant_id_day", "tenant_id", "day"),)


class BudgetSpend(Base):
    """What the ledger's rows have charged to one counter: a budget, a window, and what is counted apart.

    `version` rises with every transaction that changes the row. `backfill_nano` is the part of `spent_nano` that no row
    names, because the budget is younger. `notified` is the highest threshold announced, in percent.
    """

    __tablename__ = "budget_spend"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    ref: Mapped[str] = mapped_column(primary_key=True)
    budget_id: Mapped[UUID]
    window_start: Mapped[datetime]
    subject: Mapped[str] = mapped_column(default="", server_default="")
    spent_nano: Mapped[int] = _tokens()
    backfill_nano: Mapped[int] = _tokens()
    version: Mapped[int] = _tokens()
    notified: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("ix_budget_spend_tenant_id_budget_id", "tenant_id", "budget_id"),)
