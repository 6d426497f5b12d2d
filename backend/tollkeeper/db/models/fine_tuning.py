"""Fine-tuning jobs that run at vendors."""

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Changing, Identified


class FineTuningJob(Identified, Changing, Base):
    """A job, by the id its vendor gave it; `document` is what the vendor said of it last.

    `credential_id`: the account it runs in. A credential may be gone by now, so it refers to none.
    """

    __tablename__ = "fine_tuning_jobs"

    tenant_id: Mapped[UUID]
    project_id: Mapped[UUID | None]
    environment: Mapped[str]
    provider: Mapped[str]
    credential_id: Mapped[UUID | None]
    vendor_id: Mapped[str]
    model: Mapped[str]
    document: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
        UniqueConstraint("tenant_id", "provider", "vendor_id"),
        Index("ix_fine_tuning_jobs_tenant_id", "tenant_id", "id"),
    )
