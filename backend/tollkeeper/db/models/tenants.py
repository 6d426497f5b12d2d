"""Tenants: who is served, within which limits."""

from typing import Any

from sqlalchemy import CheckConstraint, Index, and_, func, text
from sqlalchemy.orm import Mapped, foreign, mapped_column, relationship

from tollkeeper.db.base import Base, Changing, Identified
from tollkeeper.db.models.limits import MONTHLY_BUDGET, RATE_LIMIT, Budget, Limit


class Tenant(Identified, Changing, Base):
    """`rate_limit` (requests a minute) and `monthly_budget_nano` are the short spellings of two rules: None is no rule."""

    __tablename__ = "tenants"

    name: Mapped[str]
    slug: Mapped[str]
    email: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    allowed_models: Mapped[list[str] | None]
    allowed_providers: Mapped[list[str] | None]
    logging_policy: Mapped[str] = mapped_column(default="metadata", server_default="metadata")
    flags: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    suspension_reason: Mapped[str | None]
    require_second_factor: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))

    rate_rule: Mapped[Limit | None] = relationship(
        primaryjoin=lambda: and_(Tenant.id == foreign(Limit.tenant_id), Limit.origin == RATE_LIMIT),
        cascade="all, delete-orphan",
        lazy="selectin",
    )
    budget_rule: Mapped[Budget | None] = relationship(
        primaryjoin=lambda: and_(Tenant.id == foreign(Budget.tenant_id), Budget.origin == MONTHLY_BUDGET),
        cascade="all, delete-orphan",
        lazy="selectin",
    )

    __table_args__ = (
        CheckConstraint("logging_policy IN ('none', 'metadata', 'redacted', 'full')", name="logging_policy"),
        Index("uq_tenants_name", func.lower(text("name")), unique=True),
        Index("uq_tenants_slug", "slug", unique=True),
    )

    def __init__(self, **values: Any) -> None:
        # What a new row has not set would have to be read after it was written.
        super().__init__(**{"rate_rule": None, "budget_rule": None, **values})

    @property
    def rate_limit(self) -> int | None:
        return None if self.rate_rule is None else self.rate_rule.amount

    @rate_limit.setter
    def rate_limit(self, amount: int | None) -> None:
        if amount == self.rate_limit:
            return
        if amount is None:
            self.rate_rule = None
        elif self.rate_rule is None:
            self.rate_rule = Limit(scope="tenant", unit="requests", period="minute", amount=amount, origin=RATE_LIMIT)
        else:
            self.rate_rule.amount = amount
        # The version, the ETag, is the whole tenant's, these two rules included.
        self.updated_at = func.now()

    @property
    def monthly_budget_nano(self) -> int | None:
        return None if self.budget_rule is None else self.budget_rule.amount_nano

    @monthly_budget_nano.setter
    def monthly_budget_nano(self, amount: int | None) -> None:
        """A new one counts what this month has cost so far; `domains/budgets` fills its counter."""
        if amount == self.monthly_budget_nano:
            return
        if amount is None:
            self.budget_rule = None
        elif self.budget_rule is None:
            self.budget_rule = Budget(
                scope="tenant", window_kind="month", counts_from=0, amount_nano=amount, origin=MONTHLY_BUDGET
            )
        else:
            self.budget_rule.amount_nano = amount
        self.updated_at = func.now()
