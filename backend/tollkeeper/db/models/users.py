"""Users: the accounts of people and of services. What they may do in a tenant is their membership's (`members`)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Changing, Identified


class User(Identified, Changing, Base):
    """`tenant_id` is the tenant that manages the account. A 'service' has no password and never signs in.

    `session_epoch` rises when a role, a password or the account changes: older tokens are refused.
    """

    __tablename__ = "users"

    tenant_id: Mapped[UUID]
    email: Mapped[str]
    name: Mapped[str]
    password_hash: Mapped[str | None]
    kind: Mapped[str] = mapped_column(default="person", server_default="person")
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    preferences: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    session_epoch: Mapped[int] = mapped_column(default=0, server_default="0")
    last_login_at: Mapped[datetime | None]
    email_verified_at: Mapped[datetime | None]
    password_changed_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("kind IN ('person', 'service')", name="kind"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        UniqueConstraint("tenant_id", "id"),
        # Over all tenants: a person signs in with the address alone.
        Index("uq_users_email", func.lower(text("email")), unique=True),
    )
