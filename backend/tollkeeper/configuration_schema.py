"""What may stand in `tollkeeper.yaml`: pydantic models, and the JSON Schema that editors check the file against.

Only the form of single values is decided here; what holds between them (a target's provider exists) is in
`configuration.py`.
"""

import json
import sys
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, create_model, model_validator

from tollkeeper.core.config import Settings
from tollkeeper.core.ids import TenantId
from tollkeeper.domains.budgets.schemas import BudgetTerms
from tollkeeper.domains.cache.schemas import CacheFields
from tollkeeper.domains.catalog.beyond import FineTuningFields, PassthroughFields
from tollkeeper.domains.catalog.fields import (
    LONGEST_ANSWER,
    WHOLE_CONTEXT,
    BaseUrl,
    Factor,
    Headers,
    Label,
    ModelName,
    Options,
    PerRequest,
    PriceFields,
    ProviderName,
    Secret,
    Target,
    Timeouts,
    Tokens,
    check_leads_somewhere,
    check_rest,
)
from tollkeeper.domains.catalog.parameters import Capabilities, Defaults, DropParams, Overrides
from tollkeeper.domains.catalog.policy_fields import PolicyFields, PolicyName
from tollkeeper.domains.guardrail_policies.schemas import AttachFields
from tollkeeper.domains.guardrail_policies.schemas import PolicyFields as GuardrailFields
from tollkeeper.domains.limits.schemas import Kind, LimitRate
from tollkeeper.web.schemas import Schema

# Where the file itself is cannot stand in the file.
_NOT_IN_FILE: Final = frozenset({"config"})
SCHEMA_ID: Final = "tollkeeper.schema.json"


class FileCredential(BaseModel):
    """One of several keys of a provider."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Label
    api_key: Secret


class FileProvider(BaseModel):
    """Where calls go: a vendor, or a server of your own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ProviderName
    kind: str = Field(description="What it is: openai, openai_compatible, simulated, …", examples=["openai_compatible"])
    base_url: BaseUrl | None = Field(None, description="Its address; a known vendor's own when left out.")
    api_key: Secret | None = Field(None, description="Its key. Write ${VAR} or ${file:/run/secrets/x}, not the key.")
    credentials: tuple[FileCredential, ...] = Field((), description="Several keys, instead of api_key.")
    headers: Headers = Field({}, description="Headers sent along, only to this provider.")
    allow_private_address: bool = Field(
        default=False, description="Allow loopback and private networks, which are refused otherwise."
    )
    proxy: SecretStr | None = Field(None, description="HTTP(S) proxy for this provider.")
    ca_bundle: str | None = Field(None, description="CA certificates (PEM); relative to the configuration file.")
    timeouts: Timeouts = Timeouts()
    options: Options = Field({}, description="What only this kind of provider knows.")
    passthrough: PassthroughFields | None = Field(None, description="Paths that are passed through, and their price.")
    fine_tuning: FineTuningFields | None = Field(None, description="What a fine-tuning job costs.")


class FileModel(BaseModel):
    """A name that callers use, and where it leads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ModelName
    strategy: Literal["priority"] = Field("priority", description="priority: the targets in their order.")
    targets: tuple[Target, ...] = Field((), min_length=1, max_length=50)
    policy: PolicyName | None = Field(None, description="A policy of route_policies that decides, instead of targets.")
    price: PriceFields | None = Field(None, description="Left out: the vendor's public price, where it is known.")
    unpriced: Literal["allow", "block"] = Field("allow", description="What to do with calls while no price is known.")
    owned_by: Label | None = None
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


class FileRoutePolicy(PolicyFields):
    """Where the calls of models that name it go: branches in the order that a strategy gives them."""

    name: PolicyName
    description: Annotated[str, StringConstraints(max_length=500)] = ""


class FileGuardrailPolicy(GuardrailFields):
    """Which rules look at calls and answers, and for whom. Read-only in console and API."""

    name: PolicyName
    attach: tuple[AttachFields, ...] = Field(
        (AttachFields(everyone=True),),
        min_length=1,
        max_length=200,
        description="Where it holds; left out: for every call.",
    )


class FileCachePolicy(CacheFields):
    """Which answers are given again, and to whom. Read-only in console and API."""

    name: PolicyName
    attach: tuple[AttachFields, ...] = Field(
        (AttachFields(everyone=True),),
        min_length=1,
        max_length=200,
        description="Where it holds; left out: for every call. The most specific policy holds, alone.",
    )


class FilePriceAdjustment(BaseModel):
    """What a tenant is charged for what the vendor takes; the narrowest that covers a call holds, alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant_id: TenantId = Field(description="Whose calls: ten_…, as `tollkeeper tenants list` shows it.")
    provider: ProviderName | None = Field(None, description="Only calls that this provider answers.")
    model: ModelName | None = Field(None, description="Only calls of this model, as callers name it; * may end it.")
    factor: Factor = Decimal(1)
    per_request_usd: PerRequest = Decimal(0)


class FileScope(BaseModel):
    """Whose calls a rule is about. Nothing but the kind: each one of it is counted apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    id: str | None = Field(None, max_length=256, description="Of a tenant, team, project, user or key: key_….")
    name: str | None = Field(
        None, max_length=256, description="Instead of id: a team's or project's name, a user's email."
    )
    value: str | None = Field(
        None, max_length=256, description="Of a tag name=value, an end user, a model (gpt-*), an endpoint, a provider."
    )


class _FileRule(Schema):
    tenant: str | None = Field(
        None, max_length=256, description="Whose rule: the tenant's slug or id. Left out: the platform's own."
    )
    scope: FileScope
    is_per_model: bool = Field(default=False, strict=True, description="Each model is counted apart.")

    @model_validator(mode="after")
    def _whole(self) -> "_FileRule":
        if getattr(self, "name", None) is None:
            raise ValueError("name is required: it tells this rule from the others of the tenant")
        return self


class FileLimit(LimitRate, _FileRule):
    """How often, for whom. Read-only in console and API."""


class FileBudget(BudgetTerms, _FileRule):
    """For how much, for whom, in which window. Read-only in console and API."""


def _setting_fields() -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, info in Settings.model_fields.items():
        if name not in _NOT_IN_FILE:
            kind: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
            fields[name] = (kind if info.metadata else kind | None, Field(None, description=info.description))
    return fields


# The process's settings, each optional: made from `Settings`, so that no setting can be missing here.
FileSettings: Final[type[BaseModel]] = create_model(
    "FileSettings", __config__=ConfigDict(extra="forbid", frozen=True), **_setting_fields()
)


class ConfigurationFile(BaseModel):
    """Configuration of Tollkeeper."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="tollkeeper.yaml")

    providers: tuple[FileProvider, ...] = ()
    models: tuple[FileModel, ...] = ()
    route_policies: tuple[FileRoutePolicy, ...] = Field((), description="Rules for where calls go.")
    guardrails: tuple[FileGuardrailPolicy, ...] = Field((), description="Rules for what may be said.")
    cache: tuple[FileCachePolicy, ...] = Field((), description="Which answers are given again.")
    price_adjustments: tuple[FilePriceAdjustment, ...] = Field((), description="Margins and discounts of tenants.")
    limits: tuple[FileLimit, ...] = Field((), description="How often, for whom.")
    budgets: tuple[FileBudget, ...] = Field((), description="For how much, for whom.")
    settings: FileSettings | None = Field(
        None, description="Settings of the process; flags and TOLLKEEPER_… variables win over them."
    )


def json_schema() -> dict[str, Any]:
    """The published schema of the file as it is written, `include:` and references not yet resolved."""
    schema = ConfigurationFile.model_json_schema()
    names = {"type": "string", "minLength": 1}
    schema["properties"]["include"] = {
        "description": "Other files, relative to this one; patterns such as conf.d/*.yaml are taken in order of name.",
        "anyOf": [names, {"type": "array", "items": names}],
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}


def main() -> None:
    """`python -m tollkeeper.configuration_schema > backend/tollkeeper/tollkeeper.schema.json` after a change here."""
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")


if __name__ == "__main__":
    main()
