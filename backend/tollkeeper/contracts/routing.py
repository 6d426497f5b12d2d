"""How a model's calls are routed: an immutable tree of targets with a strategy at each fork, and the rules around it.

A snapshot holds these with every reference to another policy resolved, so that a decision needs nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID


class Strategy(StrEnum):
    """Which branch of a fork is tried first; the others stand in for it, in the order the strategy gives them."""

    PRIORITY = "priority"
    WEIGHTED = "weighted"
    LEAST_LATENCY = "least_latency"
    LEAST_COST = "least_cost"
    STICKY = "sticky"
    CANARY = "canary"


class FallbackKind(StrEnum):
    """What sends a call to other targets than those of the tree."""

    CONTEXT_WINDOW = "context_window"
    CONTENT_POLICY = "content_policy"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Target:
    """One place to try: a provider and the model's name there.

    `*` stands for the name the caller asked for; `REST`, of a route whose name ends in `*`, for what that stands for.
    """

    provider: str
    model: str
    weight: int = 1
    # The longest answer of the model there, and never more than the route's: for vendors that have to be told.
    max_output_tokens: int | None = None
    # What the model there reads and writes together, where it is known.
    context_tokens: int | None = None
    # Of `CAPABILITIES`, what the model there is known not to have.
    lacks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Hours:
    """Minutes of the day in a time zone; `until` before `since` crosses midnight. Weekdays: 0 is Monday."""

    zone: str
    since: int
    until: int
    weekdays: frozenset[int] = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Condition:
    """When a branch is there at all: everything that is said must hold, None says nothing."""

    tenants: frozenset[UUID] | None = None
    # `name:value` or `name`: one of them must be among the key's tags.
    tags: frozenset[str] | None = None
    # Lower-case names; every one must have one of these values.
    headers: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    # Of the input, as estimated.
    min_input_tokens: int | None = None
    max_input_tokens: int | None = None
    hours: tuple[Hours, ...] = ()
    # What the call asks for must be among them (`CAPABILITIES`, `stream`); None: whatever it asks for.
    capabilities: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class CanaryRule:
    """Of a `canary` fork: its second branch gets `share_millionths` of the calls, until it fails too often.

    It is rolled back, by each worker for itself and told to the others, when among its last calls of `window_seconds`,
    at least `least_calls`, more than `most_errors_millionths` failed and more than twice the share of the first branch.
    """

    share_millionths: int
    most_errors_millionths: int = 50_000
    least_calls: int = 20
    window_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Branch:
    to: "Target | Fork"
    weight: int = 1
    when: Condition | None = None


@dataclass(frozen=True, slots=True)
class Fork:
    """`name` is the policy it came from, for explanations."""

    strategy: Strategy
    branches: tuple[Branch, ...]
    name: str = ""
    # Of `sticky`: `conversation`, `user`, `key` or `header:<name>`.
    sticky_by: str = "conversation"
    canary: CanaryRule | None = None


@dataclass(frozen=True, slots=True)
class RetryRule:
    """Repeats of one attempt at the same target and credential; moving on to the next is no repeat.

    `budget_millionths`: repeats by a provider's live traffic, so that a storm cannot feed itself (RULING 25).
    """

    most_attempts: int = 2
    base_seconds: float = 0.1
    most_seconds: float = 2.0
    budget_millionths: int = 100_000
    # Repeat first and move on then; else a target is asked again only where no other is left.
    before_next: bool = False


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds; None takes the provider's, then the process's. `first_token` bounds a stream's wait for content."""

    connect: float | None = None
    first_byte: float | None = None
    first_token: float | None = None
    idle: float | None = None
    total: float | None = None
    # A stream that brings fewer bytes than this in ten seconds is cut; 0 never.
    least_bytes_per_second: int = 0


@dataclass(frozen=True, slots=True)
class HedgeRule:
    """A second attempt at the next target while the first is silent. `after_seconds` None: the target's own p95.

    Bounded by both: hedges by calls, and by what hedges cost against what all calls of the model cost.
    """

    after_seconds: float | None = None
    share_millionths: int = 50_000
    spend_millionths: int = 50_000


@dataclass(frozen=True, slots=True)
class BreakerRule:
    """Opens after `failures` in a row, or when more than `most_errors_millionths` of at least `least_calls` within
    `window_seconds` failed. Then it lets `floor_millionths` of the calls through as trials, and closes after
    `successes` in a row; `open_seconds` doubles with every trial that fails, up to `most_open_seconds`.
    """

    failures: int = 5
    window_seconds: float = 10.0
    least_calls: int = 20
    most_errors_millionths: int = 250_000
    open_seconds: float = 2.0
    most_open_seconds: float = 20.0
    floor_millionths: int = 10_000
    successes: int = 3


DEFAULT_RETRY: Final = RetryRule()
DEFAULT_DEADLINES: Final = Deadlines()
DEFAULT_BREAKER: Final = BreakerRule()


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """A published version. `id` and `version` None: made of a model's own targets."""

    root: Fork
    name: str = ""
    id: UUID | None = None
    version: int | None = None
    tenant_id: UUID | None = None
    fallbacks: Mapping[FallbackKind, Fork] = field(default_factory=lambda: MappingProxyType({}))
    retry: RetryRule = DEFAULT_RETRY
    deadlines: Deadlines = DEFAULT_DEADLINES
    breaker: BreakerRule = DEFAULT_BREAKER
    hedge: HedgeRule | None = None
    # Seconds between probes of its providers; None: they are judged by their calls alone.
    probe_seconds: float | None = None
    is_managed_by_file: bool = False
    # Names of the catalogue that branches lead through: what holds for these models holds for its calls.
    models: frozenset[str] = frozenset()


@dataclass(slots=True, unsafe_hash=True)  # not frozen: made for every attempt, and that is a third of the price
class Place:
    """What has a breaker and a latency of its own."""

    provider: str
    model: str
    credential_id: UUID | None = None
