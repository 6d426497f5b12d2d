"""How a route policy is written, in the file and in the API alike: a tree of branches, and the rules around it.

Only the form of single values is decided here. What must hold between them, and what they come to once names are
resolved, is in `policies`.
"""

from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from tollkeeper.contracts.routing import FallbackKind, Strategy
from tollkeeper.domains.catalog.fields import ProviderName, UpstreamModel

MOST_TARGETS: Final = 64
DEEPEST: Final = 5
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

PolicyName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"),
    Field(description="Letters, digits, dot, dash and underscore: what models and other policies call it."),
]


def _no_bool(value: object) -> object:
    """Both would be taken for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


Share = Annotated[
    Decimal,
    BeforeValidator(_no_bool),
    Field(ge=0, le=1, max_digits=7, decimal_places=6, description="Of all calls: 0.05 is one in twenty."),
]
_Seconds = Annotated[float, BeforeValidator(_no_bool), Field(gt=0, le=86_400, allow_inf_nan=False)]
# What a worker remembers of a target (`gateway/routing/breaker.py`, `place.py`).
_BreakerWindow = Annotated[float, BeforeValidator(_no_bool), Field(ge=1, le=60, allow_inf_nan=False)]
_CanaryWindow = Annotated[float, BeforeValidator(_no_bool), Field(ge=5, le=900, allow_inf_nan=False)]
ProbeSeconds = Annotated[float, BeforeValidator(_no_bool), Field(ge=1, le=86_400, allow_inf_nan=False)]
_Tokens = Annotated[int, Field(ge=0, le=100_000_000, strict=True)]
_Moment = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]
_Tag = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
_Tenant = Annotated[str, StringConstraints(max_length=64)]
_HeaderName = Annotated[str, StringConstraints(max_length=100)]
_HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,256}$")]


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HoursFields(_Fields):
    """A part of the day: from `since`, and not at `until` any more. An earlier `until` is the next morning's."""

    zone: Annotated[str, StringConstraints(max_length=64)] = Field("UTC", description="IANA time zone.")
    since: _Moment = Field(description='"09:00"')
    until: _Moment = Field(description='"17:30"')
    weekdays: Annotated[tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Field(max_length=7)] = (
        Field((), description="The days they begin on; left out: every day.")
    )


class ConditionFields(_Fields):
    """When a branch is there: all that is said must hold."""

    tenants: Annotated[tuple[_Tenant, ...], Field(max_length=200)] | None = Field(None, description="ten_…")
    tags: Annotated[tuple[_Tag, ...], Field(max_length=50)] | None = Field(
        None, description="`name:value` or `name`: one of them is among the tags of the key."
    )
    headers: Annotated[
        dict[_HeaderName, Annotated[tuple[_HeaderValue, ...], Field(min_length=1, max_length=20)]],
        Field(max_length=10),
    ] = Field({}, description="Each header has one of these values.")
    min_input_tokens: _Tokens | None = Field(None, description="Of the input, as estimated.")
    max_input_tokens: _Tokens | None = None
    hours: Annotated[tuple[HoursFields, ...], Field(max_length=20)] = ()
    capabilities: tuple[Literal["vision", "audio", "tools", "json_schema", "reasoning", "stream"], ...] | None = Field(
        None, description="The call asks for nothing but these; left out: for anything."
    )


class CanaryFields(_Fields):
    """How much the second branch gets, and when it gets nothing any more."""

    share: Share
    most_errors: Share = Decimal("0.05")
    least_calls: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 20
    window_seconds: _CanaryWindow = 300.0


class _ForkFields(_Fields):
    sticky_by: Annotated[str, StringConstraints(max_length=120)] | None = Field(
        None, description="Of `sticky`: conversation (left out), user, key or header:<name>."
    )
    canary: CanaryFields | None = Field(None, description="Of `canary`, whose second branch is tried out.")


class BranchFields(_ForkFields):
    """One of: a provider and its model, a model of the catalogue, another policy, or branches with a strategy."""

    provider: ProviderName | None = None
    model: UpstreamModel | None = Field(
        None, description="With provider the name there (* passes on the caller's); alone one of the catalogue's."
    )
    policy: PolicyName | None = None
    strategy: Strategy | None = None
    branches: Annotated[tuple["BranchFields", ...], Field(max_length=MOST_TARGETS)] = ()
    weight: Annotated[int, Field(ge=0, le=1000, strict=True)] = 1
    when: ConditionFields | None = None


class RetryFields(_Fields):
    """Repeats at the same target; going on to the next one is none."""

    most_attempts: Annotated[int, Field(ge=1, le=10, strict=True)] = 2
    base_seconds: _Seconds = 0.1
    most_seconds: _Seconds = 2.0
    budget: Share = Field(Decimal("0.1"), description="Repeats by a provider's live traffic.")
    before_next: bool = Field(default=False, strict=True, description="Repeat first, and move on then.")


class DeadlineFields(_Fields):
    """Seconds; what is left out takes the provider's, then the process's."""

    connect: _Seconds | None = None
    first_byte: _Seconds | None = None
    first_token: _Seconds | None = None
    idle: _Seconds | None = None
    total: _Seconds | None = None
    least_bytes_per_second: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = 0


class HedgeFields(_Fields):
    """A second attempt while the first is silent, within shares of the calls and of what they cost."""

    after_seconds: _Seconds | None = Field(None, description="Left out: the target's own 95th percentile.")
    share: Share = Decimal("0.05")
    spend: Share = Decimal("0.05")


class BreakerFields(_Fields):
    """When a target is left alone, and how it comes back."""

    failures: Annotated[int, Field(ge=1, le=1000, strict=True)] = 5
    window_seconds: _BreakerWindow = 10.0
    least_calls: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 20
    most_errors: Share = Decimal("0.25")
    open_seconds: _Seconds = 2.0
    most_open_seconds: _Seconds = 20.0
    floor: Share = Field(Decimal("0.01"), description="Of the calls, let through as trials while it is open.")
    successes: Annotated[int, Field(ge=1, le=100, strict=True)] = 3


_Branches = Annotated[tuple[BranchFields, ...], Field(max_length=MOST_TARGETS)]


class FallbackFields(_Fields):
    """Where a call goes instead, in this order, when all of the tree cannot help it."""

    context_window: _Branches = Field((), description="The input is too long for the model.")
    content_policy: _Branches = Field((), description="The vendor's filter refused the call.")
    budget: _Branches = Field((), description="No budget has room for the call: cheaper models.")

    def of(self, kind: FallbackKind) -> tuple[BranchFields, ...]:
        return {
            FallbackKind.CONTEXT_WINDOW: self.context_window,
            FallbackKind.CONTENT_POLICY: self.content_policy,
            FallbackKind.BUDGET: self.budget,
        }[kind]


class PolicyFields(_ForkFields):
    """A route policy without its name."""

    strategy: Strategy = Strategy.PRIORITY
    branches: Annotated[tuple[BranchFields, ...], Field(min_length=1, max_length=MOST_TARGETS)]
    fallbacks: FallbackFields = FallbackFields()
    retry: RetryFields = RetryFields()
    deadlines: DeadlineFields = DeadlineFields()
    hedge: HedgeFields | None = Field(None, description="Left out: no second attempts.")
    breaker: BreakerFields = BreakerFields()
    probe_seconds: ProbeSeconds | None = Field(
        None, description="Ask its providers this often whether they are well; left out: their calls tell."
    )
