"""Guardrail policies: their versions, where they are attached, who is exempt, and what they found.

One without `tenant_id` is the platform's: no tenant sees it, and none can change what it does.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.core.ids import uuid7
from tollkeeper.db.base import Base, Changing, Created, Identified

_NONE = "'00000000-0000-0000-0000-000000000000'::uuid"


class GuardrailPolicy(Identified, Changing, Base):
    """`published_number` names the version that holds; None: none does yet."""

    __tablename__ = "guardrail_policies"

    tenant_id: Mapped[UUID | None]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="", server_default="")
    published_number: Mapped[int | None]

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        Index("uq_guardrail_policies_name", text(f"coalesce(tenant_id, {_NONE})"), text("lower(name)"), unique=True),
    )


class GuardrailPolicyVersion(Base):
    """What a policy said. The highest number is a draft until it is published; what was published never changes."""

    __tablename__ = "guardrail_policy_versions"

    policy_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID | None]
    document: Mapped[dict[str, Any]]
    # What the envelope is found by, and bound to: settings that are secrets, which the document only marks.
    id: Mapped[UUID] = mapped_column(default=uuid7)
    secrets: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # The first time; None: still a draft.
    published_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(["policy_id"], ["guardrail_policies.id"], ondelete="CASCADE"),
        UniqueConstraint("id"),
    )


class GuardrailAttachment(Identified, Created, Base):
    """`tenant_id` is the policy's; `subject_tenant_id` is where the team, project or key is, or the tenant itself."""

    __tablename__ = "guardrail_attachments"

    policy_id: Mapped[UUID]
    tenant_id: Mapped[UUID | None]
    level: Mapped[str]
    subject_tenant_id: Mapped[UUID | None]
    team_id: Mapped[UUID | None]
    project_id: Mapped[UUID | None]
    key_id: Mapped[UUID | None]
    model: Mapped[str | None]

    __table_args__ = (
        ForeignKeyConstraint(["policy_id"], ["guardrail_policies.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["subject_tenant_id"], ["tenants.id"]),
        ForeignKeyConstraint(["subject_tenant_id", "team_id"], ["teams.tenant_id", "teams.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["subject_tenant_id", "project_id"], ["projects.tenant_id", "projects.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["subject_tenant_id", "key_id"], ["api_keys.tenant_id", "api_keys.id"], ondelete="CASCADE"
        ),
        CheckConstraint("tenant_id IS NULL OR subject_tenant_id IS NULL OR subject_tenant_id = tenant_id", name="own"),
        Index(
            "uq_guardrail_attachments_subject",
            "policy_id",
            "level",
            text(f"coalesce(team_id, project_id, key_id, subject_tenant_id, {_NONE})"),
            text("coalesce(model, '')"),
            unique=True,
        ),
        *(
            Index(f"ix_guardrail_attachments_{name}", name, postgresql_where=text(f"{name} IS NOT NULL"))
            for name in ("team_id", "project_id", "key_id")
        ),
    )


class GuardrailExemption(Identified, Created, Base):
    """`created_by` is a user, who may be gone by now; `label` None: for whatever the rule finds."""

    __tablename__ = "guardrail_exemptions"

    policy_id: Mapped[UUID]
    tenant_id: Mapped[UUID | None]
    rule: Mapped[str]
    label: Mapped[str | None]
    key_tenant_id: Mapped[UUID]
    key_id: Mapped[UUID]
    reason: Mapped[str]
    created_by: Mapped[UUID]
    expires_at: Mapped[datetime]

    __table_args__ = (
        ForeignKeyConstraint(["policy_id"], ["guardrail_policies.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["key_tenant_id", "key_id"], ["api_keys.tenant_id", "api_keys.id"], ondelete="CASCADE"),
        CheckConstraint("tenant_id IS NULL OR key_tenant_id = tenant_id", name="own"),
        Index("ix_guardrail_exemptions_policy_id_id", "policy_id", "id"),
        Index("ix_guardrail_exemptions_key_id", "key_id"),
    )


class GuardrailEvent(Base):
    """What a rule found in one text of a call; `envelope` has the text where the policy keeps it."""

    __tablename__ = "guardrail_events"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    request_id: Mapped[UUID]
    api_key_id: Mapped[UUID]
    user_id: Mapped[UUID | None]
    model: Mapped[str | None]
    policy_id: Mapped[UUID]
    policy: Mapped[str]
    # Of the file: made of what it says.
    policy_version: Mapped[int] = mapped_column(BigInteger)
    is_platform: Mapped[bool]
    rule: Mapped[str]
    label: Mapped[str]
    action: Mapped[str]
    is_monitored: Mapped[bool]
    direction: Mapped[str]
    place: Mapped[str]
    role: Mapped[str]
    count: Mapped[int]
    envelope: Mapped[bytes | None] = mapped_column(LargeBinary)
    kek_id: Mapped[str | None] = mapped_column(
        Computed("encode(substring(envelope from 2 for 4), 'hex')", persisted=True)
    )

    __table_args__ = (
        Index("ix_guardrail_events_day_id", "day", "id"),
        Index("ix_guardrail_events_kek_id", "kek_id", postgresql_where=text("envelope IS NOT NULL")),
        {"postgresql_partition_by": "RANGE (day)"},
    )
