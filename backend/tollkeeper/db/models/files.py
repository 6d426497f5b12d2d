"""Files that callers uploaded or batches wrote. Their bytes lie in the object store."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Computed, ForeignKeyConstraint, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Created, Identified


class File(Identified, Created, Base):
    """`envelope` holds the key that the file's pieces are sealed with. `uploading` and `deleting` are seen by nobody."""

    __tablename__ = "files"

    tenant_id: Mapped[UUID]
    project_id: Mapped[UUID | None]
    environment: Mapped[str]
    status: Mapped[str]
    filename: Mapped[str]
    purpose: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    envelope: Mapped[bytes] = mapped_column(LargeBinary)
    kek_id: Mapped[str] = mapped_column(Computed("encode(substring(envelope from 2 for 4), 'hex')", persisted=True))
    expires_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
        CheckConstraint("status IN ('uploading', 'processed', 'deleting')", name="status"),
        Index("ix_files_tenant_id_id", "tenant_id", "id"),
        Index("ix_files_expires_at", "expires_at"),
        Index("ix_files_kek_id", "kek_id", "id"),
    )
