"""What Prometheus learns of calls. Children of labelled metrics are kept, because looking one up costs more than using it.

Safe with several workers when `PROMETHEUS_MULTIPROC_DIR` is set before the process imports prometheus_client.
"""

from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OVERHEAD_SECONDS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_STATUS_CLASSES: Final = ("0xx", "1xx", "2xx", "3xx", "4xx", "5xx")


@dataclass(slots=True)
class Observation:
    """One finished call. Names are those of the catalogue, never a caller's own text."""

    operation: str
    model: str
    provider: str
    http_status: int
    seconds: float
    overhead_seconds: float
    first_token_seconds: float | None
    prompt_tokens: int
    completion_tokens: int
    cost_nano: int


class Metrics:
    """One per process. `registry` is what a single-process `/metrics` renders."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        labels = ("operation", "model", "provider")
        self._requests = Counter("tollkeeper_requests", "Inference calls.", (*labels, "status"), registry=self.registry)
        self._seconds = Histogram(
            "tollkeeper_request_seconds", "Whole calls.", labels, buckets=_SECONDS, registry=self.registry
        )
        self._first_token = Histogram(
            "tollkeeper_first_token_seconds", "Until the first token.", labels, buckets=_SECONDS, registry=self.registry
        )
        self._overhead = Histogram(
            "tollkeeper_overhead_seconds",
            "The gateway's own share of a call.",
            ("operation",),
            buckets=_OVERHEAD_SECONDS,
            registry=self.registry,
        )
        self._tokens = Counter("tollkeeper_tokens", "Tokens.", (*labels, "direction"), registry=self.registry)
        self._cost = Counter("tollkeeper_cost_usd", "Dollars charged.", labels, registry=self.registry)
        self._upstream_errors = Counter(
            "tollkeeper_upstream_errors", "Failed attempts.", ("provider", "kind"), registry=self.registry
        )
        self._in_flight = Gauge(
            "tollkeeper_requests_in_flight", "Calls now.", registry=self.registry, multiprocess_mode="livesum"
        )
        self._families: dict[tuple[str, str, str], _Family] = {}

    def begin(self) -> None:
        self._in_flight.inc()

    def end(self, seen: Observation) -> None:
        self._in_flight.dec()
        key = (seen.operation, seen.model, seen.provider)
        family = self._families.get(key)
        if family is None:
            family = self._families[key] = self._family(key)
        family.requests[_STATUS_CLASSES[seen.http_status // 100]].inc()
        family.seconds.observe(seen.seconds)
        family.overhead.observe(seen.overhead_seconds)
        if seen.first_token_seconds is not None:
            family.first_token.observe(seen.first_token_seconds)
        if seen.prompt_tokens:
            family.prompt_tokens.inc(seen.prompt_tokens)
        if seen.completion_tokens:
            family.completion_tokens.inc(seen.completion_tokens)
        if seen.cost_nano:
            family.cost.inc(seen.cost_nano / 1e9)

    def upstream_error(self, provider: str, kind: str) -> None:
        self._upstream_errors.labels(provider, kind).inc()

    def _family(self, key: tuple[str, str, str]) -> "_Family":
        return _Family(
            requests={status: self._requests.labels(*key, status) for status in _STATUS_CLASSES[1:]},
            seconds=self._seconds.labels(*key),
            first_token=self._first_token.labels(*key),
            overhead=self._overhead.labels(key[0]),
            prompt_tokens=self._tokens.labels(*key, "prompt"),
            completion_tokens=self._tokens.labels(*key, "completion"),
            cost=self._cost.labels(*key),
        )


@dataclass(frozen=True, slots=True)
class _Family:
    requests: dict[str, Counter]
    seconds: Histogram
    first_token: Histogram
    overhead: Histogram
    prompt_tokens: Counter
    completion_tokens: Counter
    cost: Counter
