"""Members: who may act in a tenant, and as what. Invitations bring people in."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Changing, Identified

_ROLE: Final = (
    "role IN ('platform_admin', 'tenant_admin', 'developer', 'finance', 'auditor', 'viewer', 'custom') "
    "AND (role = 'custom') = (role_id IS NOT NULL)"
)


class Role(Identified, Changing, Base):
    """A tenant's own role. Names of permissions that no longer exist grant nothing."""

    __tablename__ = "roles"

    tenant_id: Mapped[UUID]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")
    permissions: Mapped[list[str]]

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        UniqueConstraint("tenant_id", "id"),
        Index("uq_roles_tenant_id_name", "tenant_id", func.lower(text("name")), unique=True),
    )


class Member(Identified, Changing, Base):
    """`role` is a built-in role, or 'custom' with `role_id`. A member who left keeps the row: keys and usage name it."""

    __tablename__ = "members"

    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    role: Mapped[str]
    role_id: Mapped[UUID | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    removed_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(_ROLE, name="role"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        ForeignKeyConstraint(["user_id"], ["users.id"]),
        ForeignKeyConstraint(["tenant_id", "role_id"], ["roles.tenant_id", "roles.id"]),
        UniqueConstraint("tenant_id", "user_id"),
        Index("ix_members_user_id", "user_id"),
    )


class Invitation(Identified, Changing, Base):
    """Only the digest of the link's token is kept."""

    __tablename__ = "invitations"

    tenant_id: Mapped[UUID]
    email: Mapped[str]
    role: Mapped[str]
    role_id: Mapped[UUID | None]
    team_id: Mapped[UUID | None]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    invited_by: Mapped[UUID]
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    accepted_by: Mapped[UUID | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(_ROLE, name="role"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        ForeignKeyConstraint(["tenant_id", "role_id"], ["roles.tenant_id", "roles.id"]),
        ForeignKeyConstraint(["tenant_id", "team_id"], ["teams.tenant_id", "teams.id"]),
        Index("uq_invitations_digest", "digest", unique=True),
        Index("ix_invitations_tenant_id_id", "tenant_id", "id"),
    )
