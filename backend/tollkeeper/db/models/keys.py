"""API keys: digests of their secrets, and what each may be used for."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Changing, Identified


class ApiKey(Identified, Changing, Base):
    """`public_id` is None for an initial or imported key in another form; that one is found by its digest.

    `is_imported`: what is kept is the digest of the token's SHA-256, all that another gateway could hand over.
    """

    __tablename__ = "api_keys"

    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    team_id: Mapped[UUID | None]
    project_id: Mapped[UUID | None]
    name: Mapped[str]
    public_id: Mapped[str | None]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    pepper_id: Mapped[str]
    previous_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_pepper_id: Mapped[str | None]
    previous_expires_at: Mapped[datetime | None]
    display_prefix: Mapped[str]
    last_four: Mapped[str]
    environment: Mapped[str] = mapped_column(default="live", server_default="live")
    scopes: Mapped[list[str]]
    status: Mapped[str] = mapped_column(default="active", server_default="active")
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    rate_limit_override: Mapped[int | None]
    allowed_models_override: Mapped[list[str] | None]
    allowed_providers_override: Mapped[list[str] | None]
    allowed_endpoints: Mapped[list[str] | None]
    allowed_addresses: Mapped[list[str] | None]
    allowed_origins: Mapped[list[str] | None]
    is_imported: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    tags: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    last_used_at: Mapped[datetime | None]
    created_by: Mapped[UUID | None]

    __table_args__ = (
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
        CheckConstraint("status IN ('active', 'revoked')", name="status"),
        CheckConstraint("scopes <@ ARRAY['inference', 'admin']::text[] AND scopes <> '{}'", name="scopes"),
        CheckConstraint("rate_limit_override > 0", name="rate_limit_override"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["members.tenant_id", "members.user_id"]),
        ForeignKeyConstraint(["tenant_id", "team_id"], ["teams.tenant_id", "teams.id"]),
        ForeignKeyConstraint(["tenant_id", "project_id"], ["projects.tenant_id", "projects.id"]),
        UniqueConstraint("tenant_id", "id"),
        Index("uq_api_keys_public_id", "public_id", unique=True),
        Index("uq_api_keys_digest", "digest", unique=True, postgresql_where=text("public_id IS NULL")),
        Index("ix_api_keys_previous_digest", "previous_digest", postgresql_where=text("previous_digest IS NOT NULL")),
        Index("ix_api_keys_tenant_id_user_id", "tenant_id", "user_id"),
        Index("ix_api_keys_tenant_id_team_id", "tenant_id", "team_id"),
        Index("ix_api_keys_tenant_id_project_id", "tenant_id", "project_id"),
    )
