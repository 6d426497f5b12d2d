"""What holds for a key, and why: each value with the level that decided it and what every level says."""

from datetime import datetime
from typing import Generic, Literal, TypeVar

from pydantic import Field

from tollkeeper.contracts.principal import Environment
from tollkeeper.core.ids import BudgetId, LimitId
from tollkeeper.core.permissions import Permission, Scope
from tollkeeper.domains.limits.schemas import PeriodName, ScopeView, UnitName
from tollkeeper.web.schemas import Schema
from tollkeeper.web.tree import LoggingPolicy

T = TypeVar("T")
SourceKind = Literal["tenant", "team", "project", "user", "key", "role", "default"]


class Source(Schema):
    """`id` is null for a role and for what nobody has set."""

    kind: SourceKind
    id: str | None
    name: str | None


class Step(Source, Generic[T]):
    """What one level says."""

    value: T


class Attribute(Schema, Generic[T]):
    value: T = Field(description="What holds.")
    source: Source = Field(description="The level that decided it.")
    chain: list[Step[T]] = Field(description="What each level says that says something, outermost first.")


class Named(Attribute[dict[str, T]], Generic[T]):
    sources: dict[str, Source] = Field(description="The level that decided each name.")


class _Applying(Schema):
    source: Source | None = Field(
        description="The level it is about; null for one about tags, models, endpoints, providers or end users, or that the "
        "platform has set."
    )
    scope: ScopeView = Field(description="Without id and value: each of its kind is counted apart, this one too.")
    models: list[str] | None = Field(description="Only for calls of these; null: of all.")
    is_per_model: bool
    is_platform: bool


class ApplyingLimit(_Applying):
    id: LimitId | None = Field(description="Null for the default of keys without a limit of their own.")
    unit: UnitName
    amount: int = Field(description="In force now.")
    period: PeriodName | None
    burst: int | None = Field(description="Null: a sixth of the amount for seconds and minutes, all of it for longer.")
    is_shadow: bool = Field(description="Refuses nothing.")


class ApplyingBudget(_Applying):
    id: BudgetId
    amount_usd: str = Field(description="In force now, without what rolled over.")
    window: str
    time_zone: str
    mode: Literal["hard", "soft"]


class Effective(Schema):
    """Null where a value is a limit that nobody has set."""

    levels: list[Source] = Field(description="The levels above, outermost first.")
    is_active: Attribute[bool]
    refusal: str | None = Field(description="What a call is told where the key may not be used.")
    allowed_models: Attribute[list[str] | None]
    allowed_providers: Attribute[list[str] | None]
    requests_per_minute: Attribute[int | None] = Field(
        description="The lower of what the key has for itself and what the tenant has for all its keys together."
    )
    logging_policy: Attribute[LoggingPolicy]
    tags: Named[str]
    flags: Named[bool]
    permissions: Attribute[list[Permission]]
    scopes: Attribute[list[Scope] | None]
    allowed_endpoints: Attribute[list[str] | None]
    allowed_addresses: Attribute[list[str] | None]
    allowed_origins: Attribute[list[str] | None]
    environment: Attribute[Environment | None]
    expires_at: Attribute[datetime | None]
    limits: list[ApplyingLimit] = Field([], description="Every limit that calls with the key may meet; of a key alone.")
    budgets: list[ApplyingBudget] = Field(
        [], description="Every budget that calls with the key may meet; of a key alone."
    )
