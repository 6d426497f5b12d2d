"""Background work: the job table, claimed with `SKIP LOCKED`."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Created, Identified


class Job(Identified, Created, Base):
    """A recurring job has a `schedule_key` and is put back after each run."""

    __tablename__ = "jobs"

    tenant_id: Mapped[UUID | None]
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    status: Mapped[str] = mapped_column(default="queued", server_default="queued")
    priority: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    max_attempts: Mapped[int] = mapped_column(default=5, server_default="5")
    leased_by: Mapped[str | None]
    leased_until: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    progress: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    last_error: Mapped[str | None]
    schedule_key: Mapped[str | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("status IN ('queued', 'running', 'succeeded', 'failed', 'dead', 'cancelled')", name="status"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        Index("uq_jobs_schedule_key", "schedule_key", unique=True),
        Index(
            "ix_jobs_claim",
            text("priority DESC"),
            "run_at",
            "id",
            postgresql_where=text("status IN ('queued', 'failed', 'running')"),
        ),
    )
