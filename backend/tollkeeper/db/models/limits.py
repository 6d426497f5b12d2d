"""Rules: what may be done how often (`limits`) and for how much (`budgets`). Their terms are `contracts.money`'s.

A rule without `tenant_id` is the platform's: it binds every tenant or the one it names, and no tenant sees it. `origin`
marks one that is written through a field of something else: a tenant's `rate_limit`, a key's `rate_limit_override`.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Changing, Identified

RATE_LIMIT: Final = "rate_limit"
RATE_LIMIT_OVERRIDE: Final = "rate_limit_override"
MONTHLY_BUDGET: Final = "monthly_budget"

_OBJECTS: Final = ("team_id", "project_id", "user_id", "key_id")
_HOLDER: Final = (
    "coalesce(key_id, user_id, project_id, team_id, tenant_id, only_tenant_id, "
    "'00000000-0000-0000-0000-000000000000'::uuid)"
)


class _Rule(Identified, Changing):
    """`holder_id`: whose calls it may be about; the zero UUID where that is everybody's."""

    tenant_id: Mapped[UUID | None]
    name: Mapped[str] = mapped_column(default="", server_default="")
    description: Mapped[str] = mapped_column(default="", server_default="")
    scope: Mapped[str]
    # At most one of these six is set; none: each one of the scope's kind apart, or the tenant itself.
    value: Mapped[str | None]
    team_id: Mapped[UUID | None]
    project_id: Mapped[UUID | None]
    user_id: Mapped[UUID | None]
    key_id: Mapped[UUID | None]
    # Of the platform's rules: the one tenant it is about.
    only_tenant_id: Mapped[UUID | None]
    holder_id: Mapped[UUID] = mapped_column(Computed(_HOLDER, persisted=True))
    models: Mapped[list[str] | None]
    is_per_model: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    managed_by: Mapped[str] = mapped_column(default="api", server_default="api")
    # Where in which file it is declared.
    place: Mapped[str | None]
    origin: Mapped[str | None]


def _table_args(table: str, *own: CheckConstraint) -> tuple[Any, ...]:
    return (
        *own,
        CheckConstraint("managed_by IN ('api', 'file')", name="managed_by"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        ForeignKeyConstraint(["only_tenant_id"], ["tenants.id"]),
        ForeignKeyConstraint(["tenant_id", "team_id"], ["teams.tenant_id", "teams.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["tenant_id", "project_id"], ["projects.tenant_id", "projects.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["members.tenant_id", "members.user_id"]),
        ForeignKeyConstraint(["tenant_id", "key_id"], ["api_keys.tenant_id", "api_keys.id"]),
        Index(f"ix_{table}_holder_id", "holder_id"),
        Index(f"ix_{table}_tenant_id_id", "tenant_id", "id"),
        *(
            Index(f"ix_{table}_tenant_id_{name}", "tenant_id", name, postgresql_where=text(f"{name} IS NOT NULL"))
            for name in _OBJECTS
        ),
        Index(f"uq_{table}_origin", "holder_id", "origin", unique=True, postgresql_where=text("origin IS NOT NULL")),
    )


class Limit(_Rule, Base):
    __tablename__ = "limits"

    unit: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    period: Mapped[str | None]
    burst: Mapped[int | None] = mapped_column(BigInteger)
    is_shadow: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    override_amount: Mapped[int | None] = mapped_column(BigInteger)
    override_until: Mapped[datetime | None]

    __table_args__ = _table_args(
        "limits", CheckConstraint("amount > 0 AND burst > 0 AND override_amount > 0", name="amounts")
    )


class Budget(_Rule, Base):
    """Amounts are nano-dollars, `anchor` and `counts_from` seconds since 1970, thresholds percents of the amount."""

    __tablename__ = "budgets"

    amount_nano: Mapped[int] = mapped_column(BigInteger)
    window_kind: Mapped[str]
    time_zone: Mapped[str] = mapped_column(default="UTC", server_default="UTC")
    anchor: Mapped[int | None] = mapped_column(BigInteger)
    seconds: Mapped[int | None] = mapped_column(BigInteger)
    counts_from: Mapped[int] = mapped_column(BigInteger)
    is_hard: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    increase_nano: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    increase_until: Mapped[datetime | None]
    rolls_over: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    refusal_status: Mapped[int] = mapped_column(SmallInteger, default=429, server_default="429")
    thresholds: Mapped[list[int]] = mapped_column(
        ARRAY(SmallInteger), default=lambda: [80, 100], server_default=text("'{80,100}'")
    )

    __table_args__ = _table_args("budgets", CheckConstraint("refusal_status IN (402, 429)", name="refusal_status"))
