"""What Prometheus learns of calls.

A call is added to plain numbers here; once a second, and whenever somebody looks, they go on to the Prometheus metrics.
Ten of those per call would cost as much as a whole stage. Safe with several workers when `PROMETHEUS_MULTIPROC_DIR` is
set before the process imports prometheus_client.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OVERHEAD_SECONDS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_STATUS_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
_FLUSH_SECONDS: Final = 1.0
_AT_ONCE: Final = 32

# Operation, model and provider: the catalogue's names, never a caller's own text.
Labels = tuple[str, str, str]


class Metrics:
    """One per process. `registry` is what a single-process `/metrics` renders; `flush` before a last look."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        # First in the registry, so that a look takes in everything up to now.
        self.registry.register(self)
        labels = ("operation", "model", "provider")
        self._requests = Counter("tollkeeper_requests", "Inference calls.", (*labels, "status"), registry=self.registry)
        self._seconds = Histogram(
            "tollkeeper_request_seconds", "Whole calls.", labels, buckets=_SECONDS, registry=self.registry
        )
        self._first_token = Histogram(
            "tollkeeper_first_token_seconds",
            "Until the first token of a stream.",
            labels,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._overhead = Histogram(
            "tollkeeper_overhead_seconds",
            "The gateway's own share of a call.",
            labels,
            buckets=_OVERHEAD_SECONDS,
            registry=self.registry,
        )
        self._tokens = Counter("tollkeeper_tokens", "Tokens.", (*labels, "direction"), registry=self.registry)
        self._cost = Counter("tollkeeper_cost_usd", "Dollars charged.", labels, registry=self.registry)
        self._upstream_errors = Counter(
            "tollkeeper_upstream_errors", "Failed attempts.", ("provider", "kind"), registry=self.registry
        )
        self._upstream_attempts = Counter(
            "tollkeeper_upstream_attempts",
            "Attempts by how they ended: answered, left by whoever waited, skipped before they were made, or failed.",
            ("provider", "outcome"),
            registry=self.registry,
        )
        self._hedges = Counter(
            "tollkeeper_hedges",
            "Second attempts beside a silent first one: won, lost, or not made because nothing paid for them.",
            ("provider", "result"),
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "tollkeeper_requests_in_flight", "Calls now.", registry=self.registry, multiprocess_mode="livesum"
        )
        self._guardrail_hits = Counter(
            "tollkeeper_guardrail_hits",
            "What guardrails found, by rule and by what became of it.",
            ("rule", "direction", "outcome"),
            registry=self.registry,
        )
        self._cut = Counter(
            "tollkeeper_answers_cut",
            "Answers ended because a budget had no room.",
            ("provider",),
            registry=self.registry,
        )
        self._implausible = Counter(
            "tollkeeper_implausible_usage",
            "Counts of providers that cannot be true; an estimate was billed.",
            ("provider", "what"),
            registry=self.registry,
        )
        self._unpriced = Counter(
            "tollkeeper_unpriced_calls",
            "Calls served at no known price: no budget counts them.",
            ("model", "provider"),
            registry=self.registry,
        )
        self._exceeded = Counter(
            "tollkeeper_hold_exceeded", "Calls that came to more than was held for them.", registry=self.registry
        )
        self._most_exceeded = Gauge(
            "tollkeeper_hold_exceeded_max_usd",
            "By how much, at most since the start.",
            registry=self.registry,
            multiprocess_mode="max",
        )
        self._most_exceeded_nano = 0
        self._refused = Counter(
            "tollkeeper_refusals",
            "Calls that a limit or a budget did not admit, by whose it is and what it counts.",
            ("scope", "what"),
            registry=self.registry,
        )
        self._shadow_refused = Counter(
            "tollkeeper_shadow_refusals", "Times a shadow limit would have refused a call.", registry=self.registry
        )
        self._running = 0
        self._families: dict[Labels, _Family] = {}
        self._attempts: dict[tuple[str, str], int] = {}
        self._gathered: list[tuple[Labels, int, float, float, float | None, int, int, int]] = []
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self._running += 1

    def end(
        self,
        labels: Labels,
        http_status: int,
        seconds: float,
        overhead_seconds: float,
        first_token_seconds: float | None,
        prompt_tokens: int,
        completion_tokens: int,
        cost_nano: int,
    ) -> None:
        self._running -= 1
        self._gathered.append(
            (
                labels,
                http_status,
                seconds,
                overhead_seconds,
                first_token_seconds,
                prompt_tokens,
                completion_tokens,
                cost_nano,
            )
        )
        if len(self._gathered) >= _AT_ONCE:
            self._add_up()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._tick)

    def _add_up(self) -> None:
        """A few calls at a time: one by one between other work each takes several times as long."""
        gathered, self._gathered = self._gathered, []
        for call in gathered:
            self._add(*call)

    def _add(
        self,
        labels: Labels,
        http_status: int,
        seconds: float,
        overhead_seconds: float,
        first_token_seconds: float | None,
        prompt_tokens: int,
        completion_tokens: int,
        cost_nano: int,
    ) -> None:
        family = self._families.get(labels)
        if family is None:
            family = self._families[labels] = self._family(labels)
        family.statuses[http_status // 100 - 1] += 1
        family.seconds.add(seconds)
        family.overhead.add(overhead_seconds)
        if first_token_seconds is not None:
            family.first_token.add(first_token_seconds)
        family.prompt_tokens += prompt_tokens
        family.completion_tokens += completion_tokens
        family.cost_nano += cost_nano
        family.is_dirty = True

    def upstream_error(self, provider: str, kind: str) -> None:
        self._upstream_errors.labels(provider, kind).inc()

    def attempt(self, provider: str, outcome: str) -> None:
        key = (provider, outcome)
        self._attempts[key] = self._attempts.get(key, 0) + 1

    def hedge(self, provider: str, result: str) -> None:
        self._hedges.labels(provider, result).inc()

    def guardrail_hit(self, rule: str, direction: str, outcome: str, count: int) -> None:
        self._guardrail_hits.labels(rule, direction, outcome).inc(count)

    def answer_cut(self, provider: str) -> None:
        self._cut.labels(provider).inc()

    def implausible_usage(self, provider: str, what: str) -> None:
        self._implausible.labels(provider, what).inc()

    def unpriced_call(self, model: str, provider: str) -> None:
        self._unpriced.labels(model, provider).inc()

    def call_refused(self, scope: str, what: str) -> None:
        """`what` is the unit of a limit, or `budget`."""
        self._refused.labels(scope, what).inc()

    def shadow_refused(self, count: int) -> None:
        self._shadow_refused.inc(count)

    def hold_exceeded(self, nano: int) -> None:
        self._exceeded.inc()
        if nano > self._most_exceeded_nano:
            self._most_exceeded_nano = nano
            self._most_exceeded.set(nano / 1e9)

    def settled_late(self, labels: Labels, prompt_tokens: int, completion_tokens: int, cost_nano: int) -> None:
        """What became known of a call after it had ended for its caller."""
        family = self._families.get(labels)
        if family is None:
            family = self._families[labels] = self._family(labels)
        family.prompt_tokens += prompt_tokens
        family.completion_tokens += completion_tokens
        family.cost_nano += cost_nano
        family.is_dirty = True

    def flush(self) -> None:
        self._add_up()
        self._in_flight.set(self._running)
        attempts, self._attempts = self._attempts, {}
        for (provider, outcome), count in attempts.items():
            self._upstream_attempts.labels(provider, outcome).inc(count)
        for family in self._families.values():
            if family.is_dirty:
                family.flush()

    def collect(self) -> Iterator[Metric]:
        """The registry asks everyone before it renders: no metric of our own, only the last numbers."""
        self.flush()
        return iter(())

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def _tick(self) -> None:
        self._timer = None
        self.flush()

    def _family(self, labels: Labels) -> "_Family":
        return _Family(
            requests=[self._requests.labels(*labels, status) for status in _STATUS_CLASSES],
            seconds=_Sums(self._seconds.labels(*labels), _SECONDS),
            first_token=_Sums(self._first_token.labels(*labels), _SECONDS),
            overhead=_Sums(self._overhead.labels(*labels), _OVERHEAD_SECONDS),
            tokens=(self._tokens.labels(*labels, "prompt"), self._tokens.labels(*labels, "completion")),
            cost=self._cost.labels(*labels),
        )


class _Sums:
    """A histogram's observations since the last flush."""

    __slots__ = ("_bounds", "_buckets", "_child", "_sum")

    def __init__(self, child: Histogram, bounds: Sequence[float]) -> None:
        self._child = child
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._sum += value
        self._buckets[bisect_left(self._bounds, value)] += 1

    def flush(self) -> None:
        # There is no public way to add many observations at once.
        for bucket, count in zip(self._child._buckets, self._buckets, strict=True):  # noqa: SLF001
            if count:
                bucket.inc(count)
        self._child._sum.inc(self._sum)  # noqa: SLF001
        self._buckets = [0] * len(self._buckets)
        self._sum = 0.0


class _Family:
    """The numbers of one set of labels since the last flush, and where they go."""

    __slots__ = (
        "_cost",
        "_requests",
        "_tokens",
        "completion_tokens",
        "cost_nano",
        "first_token",
        "is_dirty",
        "overhead",
        "prompt_tokens",
        "seconds",
        "statuses",
    )

    def __init__(
        self,
        requests: Sequence[Counter],
        seconds: _Sums,
        first_token: _Sums,
        overhead: _Sums,
        tokens: tuple[Counter, Counter],
        cost: Counter,
    ) -> None:
        self._requests = requests
        self._tokens = tokens
        self._cost = cost
        self.seconds = seconds
        self.first_token = first_token
        self.overhead = overhead
        self.statuses = [0] * len(_STATUS_CLASSES)
        self.prompt_tokens = self.completion_tokens = self.cost_nano = 0
        self.is_dirty = False

    def flush(self) -> None:
        for counter, count in zip(self._requests, self.statuses, strict=True):
            if count:
                counter.inc(count)
        for sums in (self.seconds, self.first_token, self.overhead):
            sums.flush()
        self._tokens[0].inc(self.prompt_tokens)
        self._tokens[1].inc(self.completion_tokens)
        self._cost.inc(self.cost_nano / 1e9)
        self.statuses = [0] * len(self.statuses)
        self.prompt_tokens = self.completion_tokens = self.cost_nano = 0
        self.is_dirty = False
