"""Trusted issuers of identities: people who sign in through them, and workloads that call with their tokens."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Changing, Created, Identified


class IdentityProvider(Identified, Changing, Base):
    """An OpenID Connect issuer a tenant trusts.

    `role_map` turns values of `role_claim` into names of roles, `group_map` values of `group_claim` into ids of teams.
    `default_role` is None when only mapped people come in. The client secret is in an envelope.
    """

    __tablename__ = "identity_providers"

    tenant_id: Mapped[UUID]
    name: Mapped[str]
    issuer: Mapped[str]
    client_id: Mapped[str | None]
    client_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    scopes: Mapped[list[str]] = mapped_column(server_default=text("'{openid,email,profile}'"))
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    allows_sign_in: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    allows_workloads: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    audience: Mapped[str | None]
    email_domains: Mapped[list[str] | None]
    creates_users: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    default_role: Mapped[str | None]
    role_claim: Mapped[str | None]
    role_map: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    group_claim: Mapped[str | None]
    group_map: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    allow_private_address: Mapped[bool] = mapped_column(default=False, server_default=text("false"))

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        UniqueConstraint("tenant_id", "id"),
        Index("uq_identity_providers_tenant_id_name", "tenant_id", func.lower(text("name")), unique=True),
        Index("ix_identity_providers_issuer", "issuer"),
    )


class ExternalIdentity(Identified, Created, Base):
    """The user behind a subject of an issuer. Never found by an address, which its issuer may give to another."""

    __tablename__ = "external_identities"

    tenant_id: Mapped[UUID]
    provider_id: Mapped[UUID]
    subject: Mapped[str]
    user_id: Mapped[UUID]
    email: Mapped[str | None]
    last_login_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "provider_id"], ["identity_providers.tenant_id", "identity_providers.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["members.tenant_id", "members.user_id"]),
        UniqueConstraint("tenant_id", "provider_id", "subject"),
        Index("ix_external_identities_tenant_id_user_id", "tenant_id", "user_id"),
    )


class WorkloadBinding(Identified, Changing, Base):
    """Tokens of the issuer whose claims equal these act as the key: its limits, its budget, its name in the ledger."""

    __tablename__ = "workload_bindings"

    tenant_id: Mapped[UUID]
    provider_id: Mapped[UUID]
    key_id: Mapped[UUID]
    name: Mapped[str]
    claims: Mapped[dict[str, Any]]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "provider_id"], ["identity_providers.tenant_id", "identity_providers.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(["tenant_id", "key_id"], ["api_keys.tenant_id", "api_keys.id"]),
        Index("uq_workload_bindings_tenant_id_name", "tenant_id", func.lower(text("name")), unique=True),
        Index("ix_workload_bindings_tenant_id_key_id", "tenant_id", "key_id"),
        Index("ix_workload_bindings_tenant_id_provider_id", "tenant_id", "provider_id"),
    )
