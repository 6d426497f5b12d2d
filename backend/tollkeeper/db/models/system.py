"""What the system keeps about itself: the outbox, announcements, replays of writes, workers and single values."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKeyConstraint, Identity, Index, LargeBinary, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Created, Identified


class OutboxEvent(Created, Base):
    """An event written with the change it tells of, delivered afterwards by a job."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    tenant_id: Mapped[UUID]
    event: Mapped[str]
    payload: Mapped[dict[str, Any]]
    delivered_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_error: Mapped[str | None]

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        Index("ix_outbox_due", "next_attempt_at", "id", postgresql_where=text("delivered_at IS NULL")),
    )


class AnnouncementRow(Identified, Created, Base):
    """Read only where NOTIFY does not arrive (a pooler in transaction mode, and no direct address)."""

    __tablename__ = "announcements"

    kind: Mapped[str]
    subject: Mapped[UUID]

    __table_args__ = (Index("ix_announcements_created_at", "created_at"),)


class IdempotencyKey(Created, Base):
    """The answer to a write, for its repetition. `response` is None when the answer held a secret."""

    __tablename__ = "idempotency_keys"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_digest: Mapped[bytes] = mapped_column(LargeBinary)
    status_code: Mapped[int | None]
    response: Mapped[bytes | None] = mapped_column(LargeBinary)
    object_id: Mapped[str | None]

    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)


class Worker(Base):
    """A process that serves; the others find its journal when it is gone."""

    __tablename__ = "workers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    journal_path: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SystemState(Base):
    """Single values: the master key's fingerprint, whether the first run is done."""

    __tablename__ = "system_state"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSONB)
