"""What Prometheus learns of targets: their breakers, pauses and quarantines, and what repeats their traffic paid for."""

import asyncio
from collections import Counter as Counts
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.core.clock import Clock
from tollkeeper.gateway.routing.catalogue import Names, named_places
from tollkeeper.gateway.routing.targets import Targets

_SECONDS: Final = 1.0
_STATES: Final = {"closed": 0, "half_open": 1, "paused": 2, "quarantined": 2, "open": 2}
# A model that a caller named: `prefix*` lets anything through, and labels are for good.
_OTHERS: Final = "*"


class TargetMetrics:
    """`run` is a task: each second it brings the targets and their metrics up to date."""

    def __init__(
        self, registry: CollectorRegistry, targets: Targets, snapshot: Callable[[], Snapshot], clock: Clock
    ) -> None:
        self._targets = targets
        self._snapshot = snapshot
        self._clock = clock
        self._named: frozenset[Names] = frozenset()
        self._named_of: Snapshot | None = None
        self._shown: set[Names] = set()
        self._told: Counts[tuple[str, str]] = Counts()
        names = ("provider", "model")
        self._state = Gauge(
            "tollkeeper_breaker_state",
            "Of the worst credential in the worst worker: 0 closed, 1 half-open, 2 open, paused or quarantined.",
            names,
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._transitions = Counter(
            "tollkeeper_breaker_transitions",
            "Changes of breakers, by the new state.",
            (*names, "state"),
            registry=registry,
        )
        self._pauses = Counter("tollkeeper_target_pauses", "Times a vendor asked for less.", names, registry=registry)
        self._quarantines = Counter(
            "tollkeeper_credential_quarantines", "Times a vendor refused a credential.", names, registry=registry
        )
        self._repeats = Counter(
            "tollkeeper_retries",
            "Repeats at the same target, paid for by its traffic.",
            ("provider",),
            registry=registry,
        )
        self._refused = Counter(
            "tollkeeper_retries_refused",
            "Repeats that the retry budget had no room for.",
            ("provider",),
            registry=registry,
        )
        self._left = Gauge(
            "tollkeeper_retry_budget",
            "Repeats there is room for now.",
            ("provider",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._rollbacks = Counter("tollkeeper_canary_rollbacks", "Canaries that failed too often.", registry=registry)

    async def run(self) -> None:
        """Never returns; cancel it."""
        while True:
            self.show()
            await asyncio.sleep(_SECONDS)

    def show(self) -> None:
        now, targets = self._clock.monotonic(), self._targets
        targets.look(now)
        self._learn_names()
        states: dict[Names, int] = dict.fromkeys(self._shown, 0)
        for provider, model, state in targets.states(now):
            names = self._label((provider, model))
            states[names] = max(states.get(names, 0), _STATES[state])
        for names, worst in states.items():
            self._state.labels(*names).set(worst)
        self._shown = set(states)
        noted = targets.take_notes()
        for (provider, model, state), count in noted.transitions.items():
            self._transitions.labels(*self._label((provider, model)), state).inc(count)
        for names, count in noted.pauses.items():
            self._pauses.labels(*self._label(names)).inc(count)
        for names, count in noted.quarantines.items():
            self._quarantines.labels(*self._label(names)).inc(count)
        self._rollbacks.inc(noted.rollbacks)
        # A provider that was gone for a while counts from the beginning.
        for provider, budget in targets.budgets():
            self._repeats.labels(provider).inc(max(0, budget.repeats - self._told[provider, "repeats"]))
            self._refused.labels(provider).inc(max(0, budget.refused - self._told[provider, "refused"]))
            self._told[provider, "repeats"], self._told[provider, "refused"] = budget.repeats, budget.refused
            self._left.labels(provider).set(budget.left(now))

    def _label(self, names: Names) -> Names:
        return names if names in self._named else (names[0], _OTHERS)

    def _learn_names(self) -> None:
        snapshot = self._snapshot()
        if snapshot is not self._named_of:
            self._named, self._named_of = named_places(snapshot), snapshot
