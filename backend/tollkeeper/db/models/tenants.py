"""Tenants: who is served, within which limits."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Changing, Identified


class Tenant(Identified, Changing, Base):
    """Limits are None when there is none; amounts are nano-dollars a calendar month."""

    __tablename__ = "tenants"

    name: Mapped[str]
    slug: Mapped[str]
    email: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    rate_limit: Mapped[int | None]
    monthly_budget_nano: Mapped[int | None] = mapped_column(BigInteger)
    allowed_models: Mapped[list[str] | None]
    allowed_providers: Mapped[list[str] | None]
    logging_policy: Mapped[str] = mapped_column(default="metadata", server_default="metadata")
    flags: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    suspension_reason: Mapped[str | None]
    require_second_factor: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))

    __table_args__ = (
        CheckConstraint("rate_limit > 0", name="rate_limit"),
        CheckConstraint("monthly_budget_nano >= 0", name="monthly_budget_nano"),
        CheckConstraint("logging_policy IN ('none', 'metadata', 'redacted', 'full')", name="logging_policy"),
        Index("uq_tenants_name", func.lower(text("name")), unique=True),
        Index("uq_tenants_slug", "slug", unique=True),
    )
