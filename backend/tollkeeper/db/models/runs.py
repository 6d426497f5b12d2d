"""Runs that were ended before their time."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped

from tollkeeper.db.base import Base, Created, Identified


class EndedRun(Identified, Created, Base):
    """Refused from `ends_at` on: one run of a key, or all that were issued before a moment. Of no use after `expires_at`."""

    __tablename__ = "ended_runs"

    tenant_id: Mapped[UUID]
    key_id: Mapped[UUID]
    run_id: Mapped[UUID | None]
    issued_before: Mapped[datetime | None]
    ends_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    created_by: Mapped[UUID | None]

    __table_args__ = (
        CheckConstraint("(run_id IS NULL) <> (issued_before IS NULL)", name="subject"),
        ForeignKeyConstraint(["tenant_id", "key_id"], ["api_keys.tenant_id", "api_keys.id"]),
        Index("uq_ended_runs_key_id_run_id", "tenant_id", "key_id", "run_id", unique=True),
    )
