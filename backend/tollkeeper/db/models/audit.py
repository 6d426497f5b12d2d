"""The audit trail: a hash chain for each tenant. The application's roles may add to it and read it, nothing else."""

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Created, Identified


class AuditLog(Identified, Created, Base):
    """`hash` = SHA-256(`previous_hash` ‖ the record's canonical form); `sequence` has no gaps within a tenant."""

    __tablename__ = "audit_logs"

    tenant_id: Mapped[UUID]
    sequence: Mapped[int] = mapped_column(BigInteger)
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    actor_type: Mapped[str]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    action: Mapped[str]
    object_type: Mapped[str]
    object_id: Mapped[str]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    request_id: Mapped[UUID | None]
    address: Mapped[str | None] = mapped_column(INET)
    outcome: Mapped[str] = mapped_column(default="success", server_default="success")

    __table_args__ = (
        CheckConstraint("outcome IN ('success', 'refused')", name="outcome"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        Index("uq_audit_logs_tenant_id_sequence", "tenant_id", "sequence", unique=True),
        Index("ix_audit_logs_tenant_id_object", "tenant_id", "object_type", "object_id"),
        Index("ix_audit_logs_tenant_id_actor_id", "tenant_id", "actor_id", "sequence"),
        Index(
            "ix_audit_logs_tenant_id_action",
            "tenant_id",
            "action",
            "sequence",
            postgresql_ops={"action": "text_pattern_ops"},
        ),
        Index("ix_audit_logs_tenant_id_created_at", "tenant_id", "created_at"),
        Index("ix_audit_logs_tenant_id_request_id", "tenant_id", "request_id"),
        Index("ix_audit_logs_tenant_id_address", "tenant_id", "address"),
        Index("ix_audit_logs_refused", "tenant_id", "sequence", postgresql_where=text("outcome = 'refused'")),
    )
