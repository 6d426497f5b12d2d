"""One row per finished call for whoever looks a call up: figures and names, never content. Days are dropped, never deleted."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Date, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base


class RequestLog(Base):
    """`day` and `created_at` are inside the UUIDv7 of `request_id`, so its order is that of time. No foreign keys, as the ledger."""

    __tablename__ = "request_logs"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    request_id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    client_request_id: Mapped[str | None]
    api_key_id: Mapped[UUID]
    user_id: Mapped[UUID | None]
    team_id: Mapped[UUID | None]
    project_id: Mapped[UUID | None]
    environment: Mapped[str]
    operation: Mapped[str]
    # The caller's; of the provider it is the provider's own.
    dialect: Mapped[str]
    model: Mapped[str | None]
    provider: Mapped[str | None]
    upstream_model: Mapped[str | None]
    is_stream: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    status: Mapped[str]
    http_status: Mapped[int] = mapped_column(SmallInteger)
    error_code: Mapped[str | None]
    ended: Mapped[str]
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    latency_ms: Mapped[int]
    first_token_ms: Mapped[int | None]
    # The gateway's own share.
    overhead_us: Mapped[int]
    prompt_tokens: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    completion_tokens: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    # What the tenant is charged; None: unpriced, or not known yet when the call ended.
    charge_nano: Mapped[int | None] = mapped_column(BigInteger)
    cache: Mapped[str | None]
    guardrail: Mapped[str | None]
    run_id: Mapped[str | None]
    end_user: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("status IN ('ok', 'error', 'cancelled', 'blocked', 'cached')", name="status"),
        CheckConstraint("ended IN ('completed', 'refused', 'failed', 'cancelled')", name="ended"),
        Index("ix_request_logs_day_request_id", "day", "request_id"),
        Index("ix_request_logs_tenant_id_api_key_id", "tenant_id", "api_key_id", "day", "request_id"),
        # What people look for is rare: the slow and the dear.
        Index("ix_request_logs_latency_ms", "latency_ms"),
        Index("ix_request_logs_charge_nano", "charge_nano"),
        Index("ix_request_logs_tenant_id_client_request_id", "tenant_id", "client_request_id"),
        {"postgresql_partition_by": "RANGE (day)"},
    )
