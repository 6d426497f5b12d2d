"""What the catalog's routes take and answer. Secrets go in and never come out: a reply says that one is there."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, SecretStr, model_validator

from tollkeeper.core.ids import ModelId, PriceAdjustmentId, PriceId, ProviderId, PublicId, TenantId
from tollkeeper.core.money import Usd
from tollkeeper.domains.catalog.beyond import FineTuningFields, PassthroughFields
from tollkeeper.domains.catalog.fields import (
    LONGEST_ANSWER,
    WHOLE_CONTEXT,
    BaseUrl,
    Day,
    Factor,
    Headers,
    Label,
    ModelName,
    Options,
    PerRequest,
    PriceFields,
    ProviderName,
    Reference,
    Secret,
    Target,
    Timeouts,
    Tokens,
    check_leads_somewhere,
    check_rest,
    read_proxy_url,
)
from tollkeeper.domains.catalog.parameters import Capabilities, Defaults, DropParams, Overrides
from tollkeeper.domains.catalog.policy_fields import (
    MOST_TARGETS,
    BranchFields,
    BreakerFields,
    CanaryFields,
    DeadlineFields,
    FallbackFields,
    HedgeFields,
    PolicyFields,
    PolicyName,
    ProbeSeconds,
    RetryFields,
)
from tollkeeper.domains.catalog.prices import PriceFile
from tollkeeper.web.schemas import Schema

# What other domains build theirs of.
__all__ = [
    "MOST_TARGETS",
    "BranchFields",
    "BreakerFields",
    "CanaryFields",
    "DeadlineFields",
    "FallbackFields",
    "HedgeFields",
    "PolicyFields",
    "PolicyName",
    "PriceFields",
    "ProbeSeconds",
    "RetryFields",
]

CredentialId = Annotated[UUID, PublicId("crd")]


def _check_proxy(secret: SecretStr) -> SecretStr:
    return SecretStr(read_proxy_url(secret.get_secret_value()))


ProxyUrl = Annotated[SecretStr, Field(max_length=2048), AfterValidator(_check_proxy)]


class ManagedBy(StrEnum):
    """Who owns an object; only those of `api` can be changed here."""

    API = "api"
    FILE = "file"
    ENVIRONMENT = "environment"
    BUILTIN = "builtin"


class _Patch(Schema):
    """An update names what it changes; null is a value only where the field may be empty."""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one field to change")
        return self

    def changes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


class CredentialCreate(Schema):
    name: Label = "default"
    secret: Annotated[Secret, Field(min_length=1, description="The provider's key; never shown again.")]


class CredentialOut(Schema):
    """A stored key, without the key. The fingerprint tells two keys apart and nothing else."""

    id: CredentialId
    name: str
    fingerprint: str
    origins: list[str]
    is_active: bool
    created_at: datetime


class ProviderCreate(Schema):
    name: ProviderName
    kind: Annotated[str, Field(max_length=100)]
    base_url: BaseUrl | None = None
    api_key: Annotated[Secret, Field(min_length=1)] | None = None
    headers: Headers = Field(default_factory=dict)
    allow_private_address: bool = Field(False, strict=True)
    proxy: ProxyUrl | None = None
    ca_bundle: Annotated[str, Field(max_length=4096)] | None = None
    timeouts: Timeouts = Timeouts()
    options: Options = Field(default_factory=dict)
    passthrough: PassthroughFields | None = None
    fine_tuning: FineTuningFields | None = None
    is_active: bool = Field(True, strict=True)


class ProviderUpdate(_Patch):
    """A provider's name and kind stay: models and ledger rows refer to them."""

    base_url: BaseUrl | None = None
    api_key: Annotated[Secret, Field(min_length=1, description="Replaces every key of the provider.")] = SecretStr("")
    headers: Headers = Field(default_factory=dict)
    allow_private_address: bool = Field(False, strict=True)
    proxy: ProxyUrl | None = None
    ca_bundle: Annotated[str, Field(max_length=4096)] | None = None
    timeouts: Timeouts = Timeouts()
    options: Options = Field(default_factory=dict)
    passthrough: PassthroughFields | None = None
    fine_tuning: FineTuningFields | None = None
    is_active: bool = Field(True, strict=True)


class CredentialTest(Schema):
    """What one credential brought; `id` is null for a provider without one."""

    id: CredentialId | None
    ok: bool
    message: str
    latency_ms: int | None
    models: int | None


class ProviderTest(Schema):
    """The first failure, or the first success; `credentials` has all."""

    ok: bool
    message: str
    latency_ms: int | None
    models: int | None
    credentials: list[CredentialTest]


class ProviderOut(Schema):
    """A provider. Where it is and how it is reached is told only to who may change it; others see null."""

    id: ProviderId
    name: str
    kind: str
    is_active: bool
    managed_by: ManagedBy
    declared_at: str | None = Field(None, description="File and line, or variable, of a declared object.")
    has_credential: bool | None = None
    base_url: str | None = None
    header_names: list[str] | None = None
    allow_private_address: bool | None = None
    has_proxy: bool | None = None
    ca_bundle: str | None = None
    timeouts: Timeouts | None = None
    options: Options | None = None
    passthrough: PassthroughFields | None = None
    fine_tuning: FineTuningFields | None = None
    credentials: list[CredentialOut] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int | None = None


class ModelCreate(Schema):
    name: ModelName
    tenant_id: TenantId | None = Field(None, description="Only this tenant sees the model; left out: everyone does.")
    strategy: Literal["priority"] = "priority"
    targets: Annotated[list[Target], Field(max_length=50)] = Field(default_factory=list)
    policy: PolicyName | None = Field(None, description="A route policy that decides, instead of targets.")
    price: PriceFields | None = None
    unpriced: Literal["allow", "block"] = "allow"
    owned_by: Label | None = None
    is_active: bool = Field(True, strict=True)
    max_output_tokens: Tokens | None = Field(None, description=LONGEST_ANSWER)
    context_tokens: Tokens | None = Field(None, description=WHOLE_CONTEXT)
    capabilities: Capabilities = Capabilities()
    drop_params: DropParams = "report"
    defaults: Defaults = Field(default_factory=dict)
    overrides: Overrides = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_what_there_is(self) -> Self:
        check_leads_somewhere(self.targets, self.policy)
        check_rest(self.name, self.targets)
        return self


class ModelUpdate(_Patch):
    strategy: Literal["priority"] = "priority"
    targets: Annotated[list[Target], Field(min_length=1, max_length=50)] = Field(
        default_factory=list, description="They take the place of a policy."
    )
    policy: PolicyName | None = Field(None, description="It takes the place of the targets.")
    unpriced: Literal["allow", "block"] = "allow"
    owned_by: Label | None = None
    is_active: bool = Field(True, strict=True)
    max_output_tokens: Tokens | None = Field(None, description=LONGEST_ANSWER)
    context_tokens: Tokens | None = Field(None, description=WHOLE_CONTEXT)
    capabilities: Capabilities = Capabilities()
    drop_params: DropParams = "report"
    defaults: Defaults = Field(default_factory=dict)
    overrides: Overrides = Field(default_factory=dict)


class ModelOut(Schema):
    """A model name, where it leads, and the price calls are charged at now (null: unpriced)."""

    id: ModelId
    name: str
    tenant_id: TenantId | None
    strategy: str
    targets: list[Target] = Field(description="Its own; empty where a policy decides.")
    policy: str | None = None
    price: PriceFields | None
    unpriced: Literal["allow", "block"]
    owned_by: str
    is_active: bool
    is_simulated: bool
    max_output_tokens: int | None = None
    context_tokens: int | None = None
    capabilities: Capabilities = Capabilities()
    drop_params: DropParams = "report"
    defaults: Defaults = Field(default_factory=dict)
    overrides: Overrides = Field(default_factory=dict)
    managed_by: ManagedBy
    declared_at: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int | None = None


class PriceCreate(PriceFields):
    """A new price; it takes the place of the one before from `effective_at` on, which is now when left out."""

    model: ModelName
    provider: ProviderName | None = Field(None, description="Price this provider's model instead of a name of ours.")
    tenant_id: TenantId | None = Field(None, description="A price agreed with one tenant.")
    effective_at: AwareDatetime | None = None
    reference: Reference | None = None
    checked: Day | None = Field(None, description="When the price was read there.")


class PriceOut(PriceFields):
    """One entry of a model's price history."""

    id: PriceId
    model: str
    provider: str | None
    vendor: str | None = Field(description="The kind of provider that a row of a public price list speaks of.")
    tenant_id: TenantId | None
    effective_at: datetime
    is_in_force: bool
    source: Literal["file", "api", "builtin", "list"]
    reference: str | None
    checked: date | None
    created_at: datetime


class PublicPrice(PriceFields):
    """A vendor's public price: of the list that ships, or of one that was put in since."""

    vendor: str
    model: str
    source: Literal["builtin", "list"]
    reference: str | None
    checked: date


class PriceAdjustmentCreate(Schema):
    """What a tenant is charged for what the vendor takes. The narrowest that covers a call holds, alone."""

    tenant_id: TenantId | None = Field(None, description="Whose calls; left out: the caller's own tenant's.")
    provider: ProviderName | None = Field(None, description="Only calls that this provider answers.")
    model: ModelName | None = Field(None, description="Only calls of this model, as callers name it; * may end it.")
    factor: Factor = Decimal(1)
    per_request_usd: PerRequest = Decimal(0)
    effective_at: AwareDatetime | None = Field(None, description="Left out: now.")
    ends_at: AwareDatetime | None = None
    note: Reference | None = None

    @model_validator(mode="after")
    def _adjusts_something(self) -> Self:
        if self.factor == 1 and not self.per_request_usd:
            raise ValueError("name a factor other than 1, or an amount per request")
        return self


class PriceAdjustmentUpdate(_Patch):
    """Whom and what it covers stays: make another one for that."""

    factor: Factor = Decimal(1)
    per_request_usd: PerRequest = Decimal(0)
    ends_at: AwareDatetime | None = None
    note: Reference | None = None


class PriceAdjustmentOut(Schema):
    """A margin (a factor over 1) or a discount (below it). Those of the file hold while they stand there."""

    id: PriceAdjustmentId
    tenant_id: TenantId
    provider: str | None
    model: str | None
    factor: Usd
    per_request_usd: Usd
    effective_at: datetime | None = None
    ends_at: datetime | None = None
    note: str | None = None
    managed_by: ManagedBy
    declared_at: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int | None = None


class PriceUpdateIn(Schema):
    """A price list, to compare with what is known and, with `apply`, to put in force."""

    price_list: PriceFile
    apply: bool = Field(False, strict=True)


class FieldChange(Schema):
    field: str
    old: str | None
    new: str | None


class ListedPrice(Schema):
    vendor: str
    model: str
    price: PriceFields


class ListedChange(Schema):
    vendor: str
    model: str
    changes: list[FieldChange]


class PriceUpdateOut(Schema):
    """What a price list changes. Nothing is ever removed: `kept` models are not in it and keep their price."""

    is_applied: bool
    added: list[ListedPrice]
    changed: list[ListedChange]
    unchanged: int
    older: int = Field(description="Rows that were read earlier than what is known, and change nothing.")
    kept: int


class KindOut(Schema):
    """A kind of provider that this gateway can talk to."""

    kind: str
    title: str
    base_url: str | None
    needs_base_url: bool
    needs_credential: bool
    env_var: str | None
    document: str | None = Field(
        None, description="entra, google or aws: whose JSON document it takes for a key as well (docs/clouds.md)."
    )


class ReloadOut(Schema):
    """The configuration now in force on the worker that answered; the others follow at once."""

    snapshot_version: int
