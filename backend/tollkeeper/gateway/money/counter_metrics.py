"""What Prometheus learns of budgets' counters: how they are kept, what they differ by, what was settled for the dead."""

import asyncio
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from tollkeeper.gateway.money.counters import CountersState, Mode
from tollkeeper.gateway.money.reaper import ReaperState

_SECONDS: Final = 1.0


class CounterMetrics:
    """`run` is a task; it brings the metrics up to date each second, for whichever process is looked at."""

    def __init__(
        self, registry: CollectorRegistry, counters: Callable[[], CountersState], reaper: Callable[[], ReaperState]
    ) -> None:
        self._counters = counters
        self._reaper = reaper
        self._told = ReaperState(0, 0, 0)
        self._mode = Gauge(
            "tollkeeper_budgets_mode",
            "Workers that keep hard budgets so: exact, from their allotment, or refusing.",
            ("mode",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._untrusted = Gauge(
            "tollkeeper_counters_untrusted",
            "Tenants whose counters wait to be rebuilt.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._drift = Gauge(
            "tollkeeper_counters_drift_usd",
            "By how much the counters in use differed from the ledger when they were last compared.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._allotted = Gauge(
            "tollkeeper_allotments_usd",
            "Put aside for the time that Redis is gone, each counter apart.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._reaped = Counter(
            "tollkeeper_records_reaped", "Calls of dead workers that were settled from Redis.", registry=registry
        )
        self._unreadable = Counter(
            "tollkeeper_records_unreadable", "Records of dead workers that nobody can settle.", registry=registry
        )

    async def run(self) -> None:
        """Never returns; cancel it."""
        while True:
            self.show()
            await asyncio.sleep(_SECONDS)

    def show(self) -> None:
        state, reaped = self._counters(), self._reaper()
        for mode in Mode:
            self._mode.labels(mode.value).set(int(mode is state.mode))
        self._untrusted.set(state.untrusted)
        self._drift.set(state.drift_nano / 1e9)
        self._allotted.set(state.allotted_nano / 1e9)
        self._reaped.inc(reaped.reaped - self._told.reaped)
        self._unreadable.inc(reaped.unreadable - self._told.unreadable)
        self._told = reaped
