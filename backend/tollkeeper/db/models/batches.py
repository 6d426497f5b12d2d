"""Batches, and what became of each of their requests."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Created, Identified


class Batch(Identified, Created, Base):
    """`envelope` holds the key that outcomes are sealed with. `runner`: the run that may write them now."""

    __tablename__ = "batches"

    tenant_id: Mapped[UUID]
    project_id: Mapped[UUID | None]
    environment: Mapped[str]
    key_id: Mapped[UUID]
    endpoint: Mapped[str]
    completion_window: Mapped[str]
    status: Mapped[str]
    input_file_id: Mapped[UUID]
    output_file_id: Mapped[UUID | None]
    error_file_id: Mapped[UUID | None]
    output_seconds: Mapped[int | None]
    # `metadata` is SQLAlchemy's own word.
    labels: Mapped[dict[str, Any] | None] = mapped_column("metadata")
    model: Mapped[str | None]
    errors: Mapped[list[dict[str, Any]] | None]
    total: Mapped[int] = mapped_column(default=0, server_default="0")
    completed: Mapped[int] = mapped_column(default=0, server_default="0")
    failed: Mapped[int] = mapped_column(default=0, server_default="0")
    runner: Mapped[UUID | None]
    envelope: Mapped[bytes] = mapped_column(LargeBinary)
    kek_id: Mapped[str] = mapped_column(Computed("encode(substring(envelope from 2 for 4), 'hex')", persisted=True))
    expires_at: Mapped[datetime]
    in_progress_at: Mapped[datetime | None]
    finalizing_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    expired_at: Mapped[datetime | None]
    cancelling_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
        CheckConstraint(
            "status IN ('validating', 'in_progress', 'finalizing', 'completed', 'failed', 'expired', 'cancelling', "
            "'cancelled')",
            name="status",
        ),
        Index("ix_batches_tenant_id_id", "tenant_id", "id"),
        Index("ix_batches_input_file_id", "input_file_id"),
        Index("ix_batches_kek_id", "kek_id", "id"),
        Index(
            "ix_batches_open",
            "id",
            postgresql_where=text("status IN ('validating', 'in_progress', 'finalizing', 'cancelling')"),
        ),
    )


class BatchItem(Base):
    """One line of the input: where it stands in the file, and its answer once there is one.

    `request_id` is that of the latest try; `interrupted` are those whose end nobody saw.
    """

    __tablename__ = "batch_items"

    batch_id: Mapped[UUID] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    custom_id: Mapped[str]
    start: Mapped[int] = mapped_column(BigInteger)
    length: Mapped[int]
    status: Mapped[str]
    run_after: Mapped[datetime] = mapped_column(server_default=func.now())
    tries: Mapped[int] = mapped_column(default=0, server_default="0")
    request_id: Mapped[UUID | None]
    interrupted: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()), default=list, server_default=text("'{}'::uuid[]"))
    http_status: Mapped[int | None]
    outcome: Mapped[bytes | None] = mapped_column(LargeBinary)

    __table_args__ = (
        ForeignKeyConstraint(["batch_id"], ["batches.id"], ondelete="CASCADE"),
        CheckConstraint("status IN ('waiting', 'running', 'done', 'failed')", name="status"),
        Index("ix_batch_items_waiting", "batch_id", "line", postgresql_where=text("status = 'waiting'")),
    )
