"""What Prometheus learns of the line. Nothing is counted while nobody waits."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class QueueMetrics:
    """`reason` of those that were turned away: `full` and `displaced` by the bound of the line, `too_long` because its
    turn would have come too late, `waited_too_long` because it did, `caller_gone`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._length = Gauge(
            "tollkeeper_queue_length", "Calls that wait for a slot.", registry=registry, multiprocess_mode="livesum"
        )
        self._seconds = Histogram(
            "tollkeeper_queue_seconds", "Waits of calls that got a slot.", buckets=_SECONDS, registry=registry
        )
        self._left = Counter(
            "tollkeeper_queue_refusals", "Calls that got no slot, by why.", ("reason",), registry=registry
        )

    def length(self, waiting: int) -> None:
        self._length.set(waiting)

    def served(self, seconds: float) -> None:
        self._seconds.observe(seconds)

    def turned_away(self, reason: str) -> None:
        self._left.labels(reason).inc()
