"""Answers of the Responses API that are kept."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, ForeignKeyConstraint, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Created, Identified


class StoredResponse(Identified, Created, Base):
    """One turn of a conversation: its input and its answer in an envelope. Of no use after `expires_at`.

    `previous_id` may name a turn that has been deleted. `item_ids`: by which items of it are referred to.
    """

    __tablename__ = "stored_responses"

    tenant_id: Mapped[UUID]
    project_id: Mapped[UUID | None]
    environment: Mapped[str]
    previous_id: Mapped[UUID | None]
    item_ids: Mapped[list[str]]
    envelope: Mapped[bytes] = mapped_column(LargeBinary)
    kek_id: Mapped[str] = mapped_column(Computed("encode(substring(envelope from 2 for 4), 'hex')", persisted=True))
    expires_at: Mapped[datetime]

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
        Index("ix_stored_responses_item_ids", "item_ids", postgresql_using="gin"),
        Index("ix_stored_responses_expires_at", "expires_at"),
        Index("ix_stored_responses_kek_id", "kek_id", "id"),
    )
