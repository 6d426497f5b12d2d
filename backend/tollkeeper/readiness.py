"""What `/health/ready` says: each dependency with its state, and whether billable work can be admitted at all.

Being degraded is being ready: with Redis or PostgreSQL gone, known keys go on working inside the declared modes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.core.announcements import ListenerState
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.redis import RedisState
from tollkeeper.gateway.money.counters import CountersState, Mode
from tollkeeper.gateway.money.journal import JournalState
from tollkeeper.gateway.money.shipper import ShipperState

_SIMULATED: Final = "simulated"
_MOST_TOLD: Final = 3


class Status(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Dependency:
    status: Status
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """`providers`: those of the configuration, by name. One that is down has others to stand in for it."""

    status: Status
    dependencies: Mapping[str, Dependency]
    providers: Mapping[str, Dependency] = field(default_factory=lambda: MappingProxyType({}))


class Pingable(Protocol):
    async def ping(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Readiness:
    database: Pingable
    redis: Callable[[], RedisState]
    announcements: Callable[[], ListenerState]
    journal: Callable[[], JournalState]
    shipper: Callable[[], ShipperState]
    snapshot: Callable[[], Snapshot]
    counters: Callable[[], CountersState]
    # Providers that are down by what calls met, and why.
    down: Callable[[], Mapping[str, str]]

    async def report(self) -> Report:
        dependencies = {
            "postgresql": await self._postgresql(),
            "redis": self._redis(),
            "budgets": self._budgets(),
            "announcements": self._announcements(),
            "journal": self._journal(),
            "catalog": self._catalog(),
        }
        providers = self._providers()
        dependencies["providers"] = _of_all(providers)
        worst = Status.OK
        for dependency in dependencies.values():
            if dependency.status is not Status.OK and worst is not Status.UNAVAILABLE:
                worst = dependency.status
        return Report(worst, dependencies, providers)

    async def _postgresql(self) -> Dependency:
        try:
            await self.database.ping()
        except DependencyUnavailable:
            return Dependency(
                Status.DEGRADED,
                "does not answer: known keys work, usage waits in the journal, the control plane is closed",
            )
        return Dependency(Status.OK)

    def _redis(self) -> Dependency:
        state = self.redis()
        if state.is_available:
            return Dependency(Status.OK)
        return Dependency(Status.DEGRADED, "does not answer: each worker enforces its share of the rate limits")

    def _budgets(self) -> Dependency:
        """The message begins with the mode."""
        state = self.counters()
        if state.mode is Mode.EXACT:
            return Dependency(Status.OK, "exact")
        waiting = f"; counters of {state.untrusted} tenants wait to be rebuilt" if state.untrusted else ""
        if state.mode is Mode.ALLOTMENT:
            return Dependency(Status.DEGRADED, f"allotment: hard budgets admit from what is put aside{waiting}")
        return Dependency(Status.DEGRADED, f"refused: calls under hard budgets are answered 503{waiting}")

    def _announcements(self) -> Dependency:
        state = self.announcements()
        if state.is_cut_off:
            return Dependency(Status.DEGRADED, "cut off: changes arrive with the next look at the database")
        return Dependency(Status.OK)

    def _journal(self) -> Dependency:
        if not self.journal().is_accepting:
            return Dependency(Status.UNAVAILABLE, "cannot be written: priced calls are refused")
        state = self.shipper()
        if state.failing_since is None:
            return Dependency(Status.OK)
        return Dependency(Status.DEGRADED, "usage waits on disk until the ledger takes it")

    def _providers(self) -> Mapping[str, Dependency]:
        """The simulated one beside real ones says nothing."""
        configs, down = self.snapshot().providers, self.down()
        real = [name for name, config in configs.items() if config.kind != _SIMULATED] or list(configs)
        return {
            name: Dependency(Status.UNAVAILABLE, down[name]) if name in down else Dependency(Status.OK)
            for name in sorted(real)
        }

    def _catalog(self) -> Dependency:
        snapshot = self.snapshot()
        if snapshot.version == 0:
            return Dependency(Status.UNAVAILABLE, "no configuration is loaded yet")
        if unrouted := snapshot.unrouted():
            names = sorted({route.policy_name or "" for route in unrouted})
            told = ", ".join(names[:_MOST_TOLD]) + (" …" if len(names) > _MOST_TOLD else "")
            return Dependency(
                Status.DEGRADED,
                f"models that lead nowhere: {len(unrouted)}, as these route policies are gone or faulty: {told}",
            )
        return Dependency(Status.OK)


def _of_all(providers: Mapping[str, Dependency]) -> Dependency:
    down = [name for name, provider in providers.items() if provider.status is not Status.OK]
    if not down:
        return Dependency(Status.OK)
    message = f"{len(down)} of {len(providers)} down: {', '.join(down)}"
    return Dependency(Status.DEGRADED if len(down) == len(providers) else Status.OK, message)
