"""API keys: digests of their secrets, and what each may be used for."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, and_, func, text
from sqlalchemy.orm import Mapped, foreign, mapped_column, relationship

from tollkeeper.db.base import Base, Changing, Identified
from tollkeeper.db.models.limits import RATE_LIMIT_OVERRIDE, Limit


class ApiKey(Identified, Changing, Base):
    """`public_id` is None for an initial or imported key in another form; that one is found by its digest.

    `is_imported`: what is kept is the digest of the token's SHA-256, all that another gateway could hand over.
    `rate_limit_override` (requests a minute) is the short spelling of a rule: None is no rule.
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
    allowed_models_override: Mapped[list[str] | None]
    allowed_providers_override: Mapped[list[str] | None]
    allowed_endpoints: Mapped[list[str] | None]
    allowed_addresses: Mapped[list[str] | None]
    allowed_origins: Mapped[list[str] | None]
    is_imported: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    tags: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    last_used_at: Mapped[datetime | None]
    created_by: Mapped[UUID | None]
    rate_rule: Mapped[Limit | None] = relationship(
        primaryjoin=lambda: and_(
            ApiKey.tenant_id == foreign(Limit.tenant_id),
            ApiKey.id == foreign(Limit.key_id),
            Limit.origin == RATE_LIMIT_OVERRIDE,
        ),
        cascade="all, delete-orphan",
        lazy="selectin",
        overlaps="rate_rule",
    )

    __table_args__ = (
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
        CheckConstraint("status IN ('active', 'revoked')", name="status"),
        CheckConstraint("scopes <@ ARRAY['inference', 'admin']::text[] AND scopes <> '{}'", name="scopes"),
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

    def __init__(self, **values: Any) -> None:
        # What a new row has not set would have to be read after it was written.
        super().__init__(**{"rate_rule": None, **values})

    @property
    def rate_limit_override(self) -> int | None:
        return None if self.rate_rule is None else self.rate_rule.amount

    @rate_limit_override.setter
    def rate_limit_override(self, amount: int | None) -> None:
        if amount == self.rate_limit_override:
            return
        if amount is None:
            self.rate_rule = None
        elif self.rate_rule is None:
            self.rate_rule = Limit(
                scope="key", unit="requests", period="minute", amount=amount, origin=RATE_LIMIT_OVERRIDE
            )
        else:
            self.rate_rule.amount = amount
        # The version, the ETag, is the whole key's, this rule included.
        self.updated_at = func.now()
