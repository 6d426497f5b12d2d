"""Payloads of the limits API, and what limits and budgets share: a scope, names, models, where they are managed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, model_validator

from tollkeeper.contracts.key_bounds import endpoint_of
from tollkeeper.contracts.money import RuleScope
from tollkeeper.core.ids import LimitId, TenantId, format_id, parse_id
from tollkeeper.web.schemas import LARGEST_INT, Name, Patterns, Schema

# Above it a doubled amount would not be exact in Redis.
LARGEST_AMOUNT: Final = 10**12
Kind = Literal["tenant", "team", "project", "user", "key", "tag", "end_user", "model", "endpoint", "provider"]
ManagedBy = Literal["api", "file"]

PREFIXES: Final[Mapping[str, str]] = MappingProxyType(
    {"tenant": "ten", "team": "team", "project": "prj", "user": "usr", "key": "key"}
)
# What a rule of the platform may be about: it counts over all tenants, or over one.
PLATFORM_KINDS: Final = frozenset({"tenant", "model", "endpoint", "provider"})
_EVERY: Final = "*"


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("text may not hold control characters")
    return text


Value = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_one_line)]
Amount = Annotated[int, Field(strict=True, ge=1, le=LARGEST_AMOUNT)]
Description = Annotated[str, Field(max_length=2000)]


class Scope(Schema):
    """Whose calls a rule is about. Without `id` and `value`, or with `*`: each one of its kind is counted apart."""

    kind: Kind
    id: Value | None = Field(
        None, description="Of a tenant, team, project, user or key: `key_…`. Of the others the same as `value`."
    )
    value: Value | None = Field(
        None,
        description="Of a tag `name=value` (`name=*`: each value apart), an end user, a model (`gpt-*`), an endpoint, a provider.",
    )

    @model_validator(mode="after")
    def _one_subject(self) -> "Scope":
        if self.id is not None and self.value is not None:
            raise ValueError("id and value are one field; send one")
        subject = self.subject
        if self.kind in PREFIXES:
            if subject is not None:
                parse_id(PREFIXES[self.kind], subject)
        elif self.kind == "tag":
            name, separator, wanted = (subject or "").partition("=")
            if not (name and separator and wanted):
                raise ValueError("a tag is written name=value; name=* counts each value apart")
        return self

    @property
    def subject(self) -> str | None:
        said = self.value if self.id is None else self.id
        if said is None or said == _EVERY:
            return None
        return endpoint_of(said) if self.kind == "endpoint" else said

    @property
    def named(self) -> UUID | None:
        """The object it names by its id."""
        subject = self.subject
        return None if subject is None or self.kind not in PREFIXES else parse_id(PREFIXES[self.kind], subject)

    @property
    def text(self) -> str | None:
        """The value it names, of kinds that have no id."""
        return None if self.kind in PREFIXES else self.subject


class ScopeView(Schema):
    kind: Kind
    id: str | None
    value: str | None


def show_scope(scope: RuleScope) -> ScopeView:
    kind: Any = scope.kind.value
    if scope.subject is not None and kind in PREFIXES:
        return ScopeView(kind=kind, id=format_id(PREFIXES[kind], UUID(hex=scope.subject)), value=None)
    return ScopeView(kind=kind, id=None, value=scope.subject)


class RuleFields(Schema):
    """What of a rule may be changed, whichever it is."""

    name: Name | None = None
    description: Description | None = None
    models: Patterns | None = Field(None, description="Only calls of these models; `*` may end a name. Null: of all.")

    @model_validator(mode="after")
    def _not_null(self) -> "RuleFields":
        for name in self.model_fields_set & self.never_null():
            if getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        if self.models == []:
            raise ValueError("models is empty, so the rule would never apply; leave it out for all models")
        return self

    @classmethod
    def never_null(cls) -> frozenset[str]:
        return frozenset({"name", "description"})


class NewRule(Schema):
    """What is said once, when a rule is made: other counters would begin."""

    scope: Scope
    tenant_id: TenantId | None = Field(None, description="Another tenant; for platform administrators.")
    is_platform: bool = Field(
        default=False,
        strict=True,
        description="Counts over all tenants, or over the one in `scope`, and no tenant sees it; for platform administrators.",
    )
    is_per_model: bool = Field(default=False, strict=True, description="Each model is counted apart.")

    @model_validator(mode="after")
    def _of_the_platform(self) -> "NewRule":
        if self.is_platform and self.tenant_id is not None:
            raise ValueError("a platform's rule has no tenant_id; name the tenant in scope")
        if self.is_platform and self.scope.kind not in PLATFORM_KINDS:
            raise ValueError(f"a platform's rule is about: {', '.join(sorted(PLATFORM_KINDS))}")
        return self


class RuleView(Schema):
    tenant_id: TenantId | None = Field(description="Null for the platform's own.")
    name: str
    description: str
    scope: ScopeView
    models: list[str] | None
    is_per_model: bool
    is_platform: bool
    managed_by: ManagedBy
    declared_at: str | None = Field(description="Where in which file; only there it can be changed.")
    origin: str | None = Field(
        description="The field this rule stands behind, such as a tenant's `rate_limit`; only there it can be changed."
    )
    created_at: datetime
    updated_at: datetime
    version: int


UnitName = Literal["requests", "input_tokens", "output_tokens", "total_tokens", "parallel"]
PeriodName = Literal["second", "minute", "hour", "day"]


class LimitTerms(RuleFields):
    burst: Amount | None = Field(
        None,
        description="How many may come at once. Null: a sixth of the amount for seconds and minutes, all of it for longer.",
    )
    is_shadow: bool | None = Field(None, strict=True, description="Count and report, but refuse nothing.")
    override_amount: Amount | None = Field(None, description="Stands in for the amount until `override_until`.")
    override_until: AwareDatetime | None = None

    @classmethod
    def never_null(cls) -> frozenset[str]:
        return super().never_null() | {"is_shadow", "amount"}

    def changes(self) -> dict[str, Any]:
        """What was sent, by the names of the columns."""
        return {name: getattr(self, name) for name in self.model_fields_set & LimitRate.model_fields.keys()}


class LimitRate(LimitTerms):
    """The terms of a whole limit."""

    unit: UnitName = "requests"
    period: PeriodName | None = Field(None, description="Required, but for `parallel`: calls under way at once.")
    amount: Amount

    @model_validator(mode="after")
    def _rate_or_slots(self) -> "LimitRate":
        if self.unit == "parallel":
            if self.period is not None or self.burst is not None:
                raise ValueError("a limit of parallel calls has no period and no burst; leave them out")
            if self.amount > LARGEST_INT:
                raise ValueError(f"at most {LARGEST_INT} parallel calls")
        elif self.period is None:
            raise ValueError("period is missing: second, minute, hour or day")
        if (self.override_amount is None) != (self.override_until is None):
            raise ValueError("override_amount and override_until belong together")
        return self


class LimitCreate(NewRule, LimitRate):
    pass


class LimitUpdate(LimitTerms):
    """Only the members that are sent are changed; scope, unit and period are for good: make another limit."""

    amount: Amount | None = None


class LimitView(RuleView):
    id: LimitId
    unit: UnitName
    amount: int
    period: PeriodName | None
    burst: int | None
    is_shadow: bool
    override_amount: int | None
    override_until: datetime | None


class LimitStatus(Schema):
    """Null where it is not known now, or where a subject has to be named."""

    id: LimitId
    subject: str | None = Field(description="What this counts: null for all that the limit is about together.")
    unit: UnitName
    period: PeriodName | None
    amount: int = Field(description="In force now, an override included.")
    burst: int | None = Field(description="In force now.")
    is_live: bool = Field(description="Whether the counters could be read.")
    remaining: int | None
    reset_seconds: float | None = Field(description="Until nothing of it is used.")


@dataclass(frozen=True, slots=True)
class DeclaredRule:
    """A rule as the configuration file declares it: whom it is about still stands there by name.

    `tenant` is a slug or a public id, None the platform. `named` is an id, or the name of a team or project, or an email.

    `columns` are the terms by the names of the table's columns; `id` is another one where other counters would begin.
    """

    section: Literal["limits", "budgets"]
    id: UUID
    name: str
    place: str
    tenant: str | None
    kind: str
    named: str | None
    value: str | None
    columns: Mapping[str, Any]
    backfill: bool = False
