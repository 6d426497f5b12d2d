"""Route policies and their versions. One without `tenant_id` belongs to the platform: every tenant may see it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Changing, Identified

_OWNER = "coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid)"


class RoutePolicy(Identified, Changing, Base):
    """`published_number` names the version that calls follow; None: nobody may follow it yet."""

    __tablename__ = "route_policies"

    tenant_id: Mapped[UUID | None]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")
    published_number: Mapped[int | None]

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        Index("uq_route_policies_name", text(_OWNER), text("lower(name)"), unique=True),
    )


class RoutePolicyVersion(Base):
    """What a policy said. The highest number is a draft until it is published; what was published never changes."""

    __tablename__ = "route_policy_versions"

    policy_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID | None]
    document: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # The first time; None: still a draft.
    published_at: Mapped[datetime | None]

    __table_args__ = (ForeignKeyConstraint(["policy_id"], ["route_policies.id"], ondelete="CASCADE"),)
