"""The catalogue: providers, their encrypted credentials, model routes and the history of prices.

A row without `tenant_id` belongs to the platform: every tenant may see it, none may change it.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Numeric,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from tollkeeper.db.base import Base, Changing, Created, Identified

_FIGURES = "max_output_tokens > 0 AND context_tokens > 0"
_OWNER = "coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid)"


class Provider(Identified, Changing, Base):
    """`proxy_url` is an encrypted envelope; secret headers are envelopes inside `headers`."""

    __tablename__ = "providers"

    tenant_id: Mapped[UUID | None]
    name: Mapped[str]
    kind: Mapped[str]
    base_url: Mapped[str | None]
    allow_private_address: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    proxy_url: Mapped[bytes | None] = mapped_column(LargeBinary)
    ca_bundle: Mapped[str | None]
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    options: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    passthrough: Mapped[dict[str, Any] | None]
    fine_tuning: Mapped[dict[str, Any] | None]
    timeouts: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        UniqueConstraint("tenant_id", "id"),
        Index("uq_providers_name", text(_OWNER), text("lower(name)"), unique=True),
    )


class ProviderCredential(Identified, Created, Base):
    """`envelope` is AES-256-GCM with `tenant|provider|field|version` as its associated data."""

    __tablename__ = "provider_credentials"

    tenant_id: Mapped[UUID | None]
    provider_id: Mapped[UUID]
    name: Mapped[str]
    envelope: Mapped[bytes] = mapped_column(LargeBinary)
    kek_id: Mapped[str]
    origins: Mapped[list[str]]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    version: Mapped[int] = mapped_column(default=1, server_default="1")

    __table_args__ = (
        ForeignKeyConstraint(["provider_id"], ["providers.id"], ondelete="CASCADE"),
        # Leads with the tenant where there is one: no credential hangs on another tenant's provider.
        ForeignKeyConstraint(["tenant_id", "provider_id"], ["providers.tenant_id", "providers.id"], ondelete="CASCADE"),
        Index("uq_provider_credentials_name", "provider_id", text("lower(name)"), unique=True),
    )


class Model(Identified, Changing, Base):
    """`targets` is a list of `{provider, model, weight}`; `parameters` has `drop_params`, `defaults` and `overrides`."""

    __tablename__ = "models"

    tenant_id: Mapped[UUID | None]
    name: Mapped[str]
    strategy: Mapped[str] = mapped_column(default="priority", server_default="priority")
    targets: Mapped[list[dict[str, Any]]]
    # Of a route policy that takes the place of targets; a name, because the file has policies too.
    policy: Mapped[str | None]
    unpriced_policy: Mapped[str] = mapped_column(default="allow", server_default="allow")
    owned_by: Mapped[str] = mapped_column(default="tollkeeper", server_default="tollkeeper")
    is_active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    # None, or a name that is not among them: as the public list says.
    max_output_tokens: Mapped[int | None]
    context_tokens: Mapped[int | None]
    capabilities: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))

    __table_args__ = (
        CheckConstraint(_FIGURES, name="figures"),
        CheckConstraint("unpriced_policy IN ('allow', 'block')", name="unpriced_policy"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        Index("uq_models_name", text(_OWNER), "name", unique=True),
    )


class Price(Identified, Created, Base):
    """Pico-dollars a token, an image, …. Never updated: a later `effective_at` supersedes.

    Without `provider` and `vendor` it prices a name of ours. `tiers` is a list of other rates, amounts as decimal text.
    """

    __tablename__ = "prices"

    tenant_id: Mapped[UUID | None]
    provider: Mapped[str | None]
    # The kind of provider a public price list speaks of.
    vendor: Mapped[str | None]
    model: Mapped[str]
    input_pico: Mapped[int] = mapped_column(BigInteger)
    output_pico: Mapped[int] = mapped_column(BigInteger)
    cache_read_pico: Mapped[int | None] = mapped_column(BigInteger)
    cache_write_pico: Mapped[int | None] = mapped_column(BigInteger)
    cache_write_1h_pico: Mapped[int | None] = mapped_column(BigInteger)
    input_audio_pico: Mapped[int | None] = mapped_column(BigInteger)
    input_image_pico: Mapped[int | None] = mapped_column(BigInteger)
    reasoning_pico: Mapped[int | None] = mapped_column(BigInteger)
    output_audio_pico: Mapped[int | None] = mapped_column(BigInteger)
    output_image_pico: Mapped[int | None] = mapped_column(BigInteger)
    image_pico: Mapped[int | None] = mapped_column(BigInteger)
    audio_second_pico: Mapped[int | None] = mapped_column(BigInteger)
    character_pico: Mapped[int | None] = mapped_column(BigInteger)
    request_pico: Mapped[int | None] = mapped_column(BigInteger)
    tiers: Mapped[list[dict[str, Any]]] = mapped_column(default=list, server_default=text("'[]'::jsonb"))
    effective_at: Mapped[datetime]
    source: Mapped[str]
    # Where and when the price was read.
    reference: Mapped[str | None]
    checked_on: Mapped[date | None]
    # What a public list says the model can do.
    max_output_tokens: Mapped[int | None]
    context_tokens: Mapped[int | None]
    capabilities: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'::jsonb"))

    __table_args__ = (
        CheckConstraint(_FIGURES, name="figures"),
        CheckConstraint("source IN ('file', 'api', 'builtin', 'list')", name="source"),
        CheckConstraint(
            "(source = 'list') = (vendor IS NOT NULL) AND (vendor IS NULL OR (provider IS NULL AND tenant_id IS NULL))",
            name="vendor",
        ),
        CheckConstraint("input_pico >= 0 AND output_pico >= 0", name="amounts"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        Index("ix_prices_model_effective_at", "model", text("effective_at DESC")),
        Index(
            "ix_prices_vendor_model",
            "vendor",
            "model",
            text("effective_at DESC"),
            postgresql_where=text("vendor IS NOT NULL"),
        ),
    )


class PriceAdjustment(Identified, Changing, Base):
    """A tenant's margin (`factor` over 1) or discount (below it). `model` may end in `*`."""

    __tablename__ = "price_adjustments"

    tenant_id: Mapped[UUID]
    provider: Mapped[str | None]
    model: Mapped[str | None]
    factor: Mapped[Decimal] = mapped_column(Numeric(10, 6))
    # Added for each attempt that a vendor may take something for.
    request_nano: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    effective_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    note: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("factor >= 0 AND request_nano >= 0", name="amounts"),
        CheckConstraint("ends_at > effective_at", name="times"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        Index("ix_price_adjustments_tenant_id", "tenant_id", "id"),
    )
