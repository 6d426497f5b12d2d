"""What is asked about a route that a call would take, and what is answered: plain values, for the control plane."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from uuid import UUID

from tollkeeper.contracts.catalog import Price
from tollkeeper.contracts.money import Budget, Limit
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.routing import FallbackKind


@dataclass(frozen=True, slots=True)
class RouteQuestion:
    """A call nobody makes. Without a body it is an empty one of its endpoint; header names in any case.

    `share`: the random number in [0, 1) that such a call would draw; None: a new one.
    """

    principal: Principal
    model: str
    endpoint: str = "/v1/chat/completions"
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    share: float | None = None


@dataclass(frozen=True, slots=True)
class RoutedTarget:
    """As it stands now. `blocked_seconds`: until it may be asked again; 0: now. `price` is what is charged there."""

    provider: str
    model: str
    price: Price | None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    blocked_seconds: float = 0.0
    latency_seconds: float | None = None
    in_flight: int = 0
    cache_read_share: float = 0.0


@dataclass(frozen=True, slots=True)
class UnroutedTarget:
    provider: str
    model: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """What the call would be told instead of an answer, before it counts anywhere."""

    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ExplainedRoute:
    """`most_nano`: what one attempt can cost at the most; None: nothing bounds it. `usual_nano`: what nearly all cost.

    Both None where no price is known. Amounts are charges, of the dearest target that the call may reach.
    """

    name: str
    share: float
    targets: Sequence[RoutedTarget]
    left_out: Sequence[UnroutedTarget]
    fallbacks: Mapping[FallbackKind, Sequence[RoutedTarget]]
    notes: Sequence[str]
    input_tokens: int
    output_tokens: int
    is_priced: bool
    most_nano: int | None
    usual_nano: int | None
    limits: Sequence[Limit]
    budgets: Sequence[Budget]
    policy: str | None = None
    policy_id: UUID | None = None
    policy_version: int | None = None
    refusal: Refused | None = None
