"""How fast a model answers at a provider: peak EWMA for choosing, a decayed histogram for its 95th percentile.

Both take a handful of numbers, whatever the traffic. Pure: the clock comes in.
"""

from math import exp, log
from typing import Final

# A peak is forgotten within a few of these; unused, the estimate falls towards nothing, so that somebody looks again.
TAU_SECONDS: Final = 10.0
IDLE_TAU_SECONDS: Final = 60.0
LEAST_OBSERVATIONS: Final = 20
_FIRST: Final = 0.001
_GROWTH: Final = 1.2
_STEPS: Final = 76  # 0.001 x 1.2^76 is about 1,000 seconds.
_PER_STEP: Final = 1 / log(_GROWTH)
# Observations after which the old ones count half.
_HALVE_AFTER: Final = 500


class Latency:
    __slots__ = ("_at", "_buckets", "_total", "_value")

    def __init__(self) -> None:
        self._value: float | None = None
        self._at = 0.0
        self._buckets: list[int] | None = None
        self._total = 0

    def observe(self, seconds: float, now: float) -> None:
        """A slow answer counts at once and in full, a fast one little by little."""
        value = self._value
        if value is None or seconds >= value:
            self._value = seconds
        else:
            kept = exp((self._at - now) / TAU_SECONDS) if now > self._at else 1.0
            self._value = value * kept + seconds * (1.0 - kept)
        self._at = now
        buckets = self._buckets
        if buckets is None:
            buckets = self._buckets = [0] * (_STEPS + 1)
        step = int(log(seconds / _FIRST) * _PER_STEP) + 1 if seconds > _FIRST else 0
        buckets[min(_STEPS, step)] += 1
        self._total += 1
        if self._total >= _HALVE_AFTER:
            self._buckets = [count >> 1 for count in buckets]
            self._total = sum(self._buckets)

    def at_least(self, seconds: float, now: float) -> None:
        """A wait that ended without an answer: it counts where it was longer than what is expected anyway."""
        expected = self.estimate(now)
        if expected is not None and seconds > expected:
            self._value, self._at = seconds, now

    def estimate(self, now: float) -> float | None:
        """Peak EWMA in seconds; None before the first answer."""
        value, idle = self._value, now - self._at
        if value is None or idle <= TAU_SECONDS:
            return value
        return value * exp((TAU_SECONDS - idle) / IDLE_TAU_SECONDS)

    def longest(self) -> float | None:
        """Of what is remembered, at most a fifth too much; None before the first answer."""
        steps = [step for step, count in enumerate(self._buckets or ()) if count]
        return float(_FIRST * _GROWTH ** steps[-1]) if steps else None

    def quantile(self, share: float) -> float | None:
        """At most a fifth too much; None before `LEAST_OBSERVATIONS`."""
        if self._buckets is None or self._total < LEAST_OBSERVATIONS:
            return None
        wanted = share * self._total
        seen = 0
        for step, count in enumerate(self._buckets):
            seen += count
            if seen >= wanted:
                return float(_FIRST * _GROWTH**step)
        return float(_FIRST * _GROWTH**_STEPS)
