"""What an explanation of a route takes and answers."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from tollkeeper.core.ids import BudgetId, KeyId, LimitId, RoutePolicyId
from tollkeeper.core.money import Usd
from tollkeeper.domains.catalog.schemas import PriceFields
from tollkeeper.web.schemas import Schema

_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
_Value = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,1000}$")]


class RouteQuestionIn(Schema):
    """A call that nobody makes."""

    model: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,256}$")]
    key_id: KeyId | None = Field(
        None, description="With whose limits and rights; left out: as your tenant without any."
    )
    endpoint: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/_.-]{1,100}$")] = Field(
        "chat/completions", description="As it is called, with or without /v1/."
    )
    body: dict[str, Any] | None = Field(None, description="The call; its model is the one above.")
    headers: Annotated[dict[_Name, _Value], Field(max_length=50)] = Field(default_factory=dict)
    share: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None = Field(
        None, description="The random number that the call draws; left out: a new one each time."
    )


class RoutedTargetOut(Schema):
    provider: str
    model: str
    price: PriceFields | None = Field(description="What a call is charged by there; null: unpriced.")
    context_tokens: int | None
    max_output_tokens: int | None
    blocked_seconds: float = Field(description="Until it may be asked again, on the worker that answers; 0: now.")
    latency_ms: int | None
    in_flight: int | None = Field(
        description="Null for all but the platform's administrators: it is everybody's traffic."
    )
    cache_read_share: float


class LeftOutOut(Schema):
    provider: str
    model: str
    reason: str = Field(
        description="provider_unknown, provider_not_allowed, not_named, condition, capability, context_too_small"
    )
    detail: str


class FallbackOut(Schema):
    kind: str = Field(description="context_window, content_policy, budget")
    targets: list[RoutedTargetOut]


class CountedLimitOut(Schema):
    id: LimitId
    scope: str
    unit: str
    amount: int
    period: str | None
    is_shadow: bool


class CountedBudgetOut(Schema):
    id: BudgetId
    scope: str
    amount_usd: Usd
    window: str
    mode: str


class RefusalOut(Schema):
    status: int
    code: str
    message: str


class ExplainedRouteOut(Schema):
    """The decision such a call would get now, on the worker that answers. Nobody was called, nothing is held."""

    model: str = Field(description="The name in the catalogue that answers for the model.")
    policy: str | None
    policy_id: RoutePolicyId | None
    policy_version: int | None
    share: float
    targets: list[RoutedTargetOut] = Field(description="In the order in which they would be tried.")
    left_out: list[LeftOutOut]
    fallbacks: list[FallbackOut]
    notes: list[str]
    input_tokens: int = Field(description="As estimated.")
    output_tokens: int = Field(description="As forecast.")
    most_usd: Usd | None = Field(description="What one attempt can be charged at the most; null: no price, or no end.")
    usual_usd: Usd | None = Field(description="What nearly all such calls stay below; null: no price.")
    limits: list[CountedLimitOut] = Field(description="Those that it would count under.")
    budgets: list[CountedBudgetOut]
    refusal: RefusalOut | None = Field(description="What it would be told instead, before it counts anywhere.")
