"""Two vendors behind one model, a gate that notes what it is asked and told, and the policies tests route by."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gateway.serving import Serving, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, running_upstream
from tollkeeper.contracts.catalog import Credential
from tollkeeper.contracts.routing import (
    Branch,
    BreakerRule,
    Fork,
    HedgeRule,
    Place,
    RoutePolicy,
    Strategy,
    Target,
)
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.provider import Failure
from tollkeeper.gateway.routing.health import Standing
from tollkeeper.gateway.routing.open_gate import OpenGate
from tollkeeper.gateway.routing.retry_budget import RetryBudget

MODEL = "gpt-4o-mini"
ALWAYS = HedgeRule(after_seconds=0.05, share_millionths=1_000_000, spend_millionths=1_000_000)


@dataclass
class NotedTicket:
    place: Place
    ends: list[str] = field(default_factory=list)
    has_spoken: bool = False

    def speaks(self, now: float, first_token_seconds: float) -> None:
        assert first_token_seconds >= 0
        self.has_spoken = True

    def answered(self, now: float, first_token_seconds: float, cache_read_share: float | None = None) -> None:
        assert first_token_seconds >= 0
        self.ends.append("answered")

    def failed(self, now: float, failure: Failure) -> None:
        self.ends.append(str(failure.kind))

    def left(self, now: float) -> None:
        self.ends.append("left")


class NotingGate(OpenGate):
    """`closed`: why a provider's targets (or one credential of them) are not let through, and for how long."""

    def __init__(self) -> None:
        super().__init__()
        self.tickets: list[NotedTicket] = []
        self.closed: dict[Any, tuple[str, float]] = {}
        self.p95_seconds: float | None = None
        # Lets everything through that is asked for because nothing else is left.
        self.has_mercy = False
        self.budget = RetryBudget(0.0)

    def standing(self, provider: str, model: str, now: float) -> Standing:
        return Standing(p95_seconds=self.p95_seconds)

    def enter(self, place: Place, rule: BreakerRule, now: float, *, last_resort: bool = False) -> Any:
        if self._closed(place) is not None and not (last_resort and self.has_mercy):
            return None
        ticket = NotedTicket(place)
        self.tickets.append(ticket)
        return ticket

    def blocked(self, place: Place, now: float) -> tuple[str, float]:
        return self._closed(place) or ("", 0.0)

    def retry_budget(self, provider: str, now: float) -> RetryBudget:
        return self.budget

    @property
    def ends(self) -> list[tuple[str, ...]]:
        """Of each attempt that was let through, every end that was told."""
        return [tuple(ticket.ends) for ticket in self.tickets]

    def _closed(self, place: Place) -> tuple[str, float] | None:
        return self.closed.get(place.credential_id) or self.closed.get(place.provider)


@dataclass
class Pair:
    """`one` comes first."""

    one: FakeUpstream
    two: FakeUpstream
    gateway: Serving
    gate: NotingGate

    def metric(self, name: str, **labels: str) -> float:
        return self.gateway.metrics.registry.get_sample_value(f"tollkeeper_{name}", labels) or 0.0


def fork(*targets: Target) -> Fork:
    return Fork(Strategy.PRIORITY, tuple(Branch(target) for target in targets))


ONE, TWO = Target("one", "a"), Target("two", "b")
BOTH = fork(ONE, TWO)


def credentials(count: int) -> tuple[Credential, ...]:
    return tuple(Credential(uuid7(), f"secret-number-{number}") for number in range(count))


@asynccontextmanager
async def pair(
    folder: Path,
    policy: RoutePolicy | None = None,
    *,
    targets: Sequence[Target] = (ONE, TWO),
    first: dict[str, Any] | None = None,
    second: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Pair]:
    """`first` and `second`: fields of the providers' configurations."""
    gate = NotingGate()
    async with running_upstream() as one, running_upstream() as two:
        configs = [provider("one", one.base_url, **(first or {})), provider("two", two.base_url, **(second or {}))]
        made = route(MODEL, *((target.provider, target.model) for target in targets), policy=policy)
        async with serving(folder, snapshot(configs, [made]), gate=gate, **options) as gateway:
            yield Pair(one, two, gateway, gate)
