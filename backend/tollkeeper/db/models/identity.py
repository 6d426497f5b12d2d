"""Refresh sessions: one row for each token ever handed out, in families that die together."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Created, Identified


class RefreshSession(Identified, Created, Base):
    """Only the digest of the token is kept. `replaced_by` is set when it was rotated; a second use is theft."""

    __tablename__ = "sessions"

    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    family_id: Mapped[UUID]
    token_digest: Mapped[bytes] = mapped_column(LargeBinary)
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    replaced_by: Mapped[UUID | None]
    user_agent: Mapped[str | None]
    address: Mapped[str | None]

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        Index("uq_sessions_token_digest", "token_digest", unique=True),
        Index("ix_sessions_family_id", "family_id"),
        Index("ix_sessions_tenant_id_user_id", "tenant_id", "user_id"),
    )
