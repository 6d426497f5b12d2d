"""Teams and projects: the levels between a tenant and its keys. Each narrows what lies below, none widens it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Changing, Identified


class _Node(Identified, Changing):
    """None inherits from the level above."""

    tenant_id: Mapped[UUID]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    allowed_models: Mapped[list[str] | None]
    allowed_providers: Mapped[list[str] | None]
    logging_policy: Mapped[str | None]
    tags: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    flags: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))


class Team(_Node, Base):
    __tablename__ = "teams"

    __table_args__ = (
        CheckConstraint("logging_policy IN ('none', 'metadata', 'redacted', 'full')", name="logging_policy"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        UniqueConstraint("tenant_id", "id"),
        Index("uq_teams_tenant_id_name", "tenant_id", func.lower(text("name")), unique=True),
    )


class Project(_Node, Base):
    """In a team, or directly in the tenant."""

    __tablename__ = "projects"

    team_id: Mapped[UUID | None]

    __table_args__ = (
        CheckConstraint("logging_policy IN ('none', 'metadata', 'redacted', 'full')", name="logging_policy"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        ForeignKeyConstraint(["tenant_id", "team_id"], ["teams.tenant_id", "teams.id"]),
        UniqueConstraint("tenant_id", "id"),
        Index("uq_projects_tenant_id_name", "tenant_id", func.lower(text("name")), unique=True),
        Index("ix_projects_tenant_id_team_id", "tenant_id", "team_id"),
    )


class TeamMember(Base):
    """A maintainer manages the team's people, projects and keys. `source` says who put the member here."""

    __tablename__ = "team_members"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(default="member", server_default="member")
    source: Mapped[str] = mapped_column(default="manual", server_default="manual")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        CheckConstraint("role IN ('member', 'maintainer')", name="role"),
        CheckConstraint("source IN ('manual', 'identity_provider')", name="source"),
        ForeignKeyConstraint(["tenant_id", "team_id"], ["teams.tenant_id", "teams.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["members.tenant_id", "members.user_id"]),
        Index("ix_team_members_tenant_id_user_id", "tenant_id", "user_id"),
    )
