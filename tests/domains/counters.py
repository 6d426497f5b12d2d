"""Live counters as a test wants them: the port `contracts.ports.CounterView` without Redis."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from tollkeeper.contracts.money import Limit
from tollkeeper.contracts.ports import CounterState, OpenHold, RateState
from tollkeeper.core.errors import DependencyUnavailable


@dataclass
class HandCounters:
    """Away until a test says what there is."""

    is_away: bool = True
    states: dict[tuple[UUID, str], CounterState] = field(default_factory=dict)
    open_holds: dict[tuple[UUID, str], list[OpenHold]] = field(default_factory=dict)
    rates: dict[tuple[UUID, UUID, str], RateState] = field(default_factory=dict)

    async def counters(self, tenant_id: UUID, refs: Sequence[str]) -> Sequence[CounterState]:
        self._answer()
        return [self.states.get((tenant_id, ref)) or CounterState(ref, 0, 0) for ref in refs]

    async def holds(self, tenant_id: UUID, ref: str, *, limit: int) -> Sequence[OpenHold]:
        self._answer()
        return self.open_holds.get((tenant_id, ref), [])[:limit]

    async def rate(self, tenant_id: UUID, limit: Limit, subject: str) -> RateState:
        self._answer()
        return self.rates.get((tenant_id, limit.id, subject)) or RateState(limit.amount, 0.0)

    def _answer(self) -> None:
        if self.is_away:
            raise DependencyUnavailable("Redis is away.")
