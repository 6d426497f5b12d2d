"""What Prometheus learns of the cache. Labels are few words of our own; hits are the sum of their kinds."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from tollkeeper.contracts.cache import CacheResult


class CacheMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._results = Counter(
            "tollkeeper_cache_calls",
            "Calls under a cache policy, by what became of them.",
            ("result",),
            registry=registry,
        )
        results = {result: self._results.labels(result.value) for result in CacheResult}
        self._result = results
        self._saved = Counter(
            "tollkeeper_cache_saved_usd", "Dollars that answers given again had cost their tenants.", registry=registry
        )
        self._seconds = Counter(
            "tollkeeper_cache_saved_seconds", "Seconds that answers given again had taken.", registry=registry
        )
        self._poisoned = Counter(
            "tollkeeper_cache_poisoned",
            "Values in the cache that were no entries of ours.",
            ("reason",),
            registry=registry,
        )
        self._bytes = Gauge(
            "tollkeeper_cache_memory_bytes",
            "What entries take up in the memory of the workers, roughly.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._handovers = Counter(
            "tollkeeper_cache_handovers",
            "Times that calls waiting for another one's answer had to ask for it themselves.",
            registry=registry,
        )

    def result(self, result: CacheResult, saved_nano: int = 0, seconds: float = 0.0) -> None:
        self._result[result].inc()
        if saved_nano:
            self._saved.inc(saved_nano / 1e9)
        if seconds > 0:
            self._seconds.inc(seconds)

    def poisoned(self, reason: str) -> None:
        self._poisoned.labels(reason).inc()

    def holds(self, size: int) -> None:
        self._bytes.set(size)

    def handed_over(self) -> None:
        self._handovers.inc()
