"""Rates as GCRA, a token bucket kept in one number: the time at which the bucket will be full again (`tat`). Pure.

The same arithmetic as `admission.lua`, so both agree to the microsecond; it serves alone when Redis is gone. No interval
of any alignment admits more than amount + burst. Times are microseconds.
"""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Rate:
    """`amount` units a period, of which `burst` may come at once (it counts the first)."""

    period_us: int
    amount: int
    burst: int
    # A request takes whole microseconds, so that a burst is exactly as many; a token may take less than one.
    is_whole: bool = True

    @property
    def interval(self) -> float:
        exact = self.period_us / self.amount
        return ceil(exact) if self.is_whole else exact

    @property
    def room(self) -> int:
        return ceil(self.interval * self.burst)

    def share(self, workers: int) -> "Rate":
        """What one of `workers` may admit by itself, so that all of them together keep the limit."""
        if workers <= 1:
            return self
        return Rate(self.period_us * workers, self.amount, max(1, self.burst // workers), self.is_whole)


def load(stored: int, rate: Rate, now_us: int) -> int:
    """A time in the past is a full bucket; one further ahead than an empty bucket comes from another clock or limit."""
    return max(now_us, min(stored, now_us + rate.room) if rate.is_whole else stored)


def cost(rate: Rate, units: int) -> int:
    return ceil(units * rate.interval)


def wait(tat: int, rate: Rate, units: int, now_us: int) -> int:
    """0 or less: there is room now. A call dearer than the burst is admitted on a full bucket, into debt."""
    needed = cost(rate, units)
    if needed > rate.room:
        return tat - now_us
    return tat + needed - now_us - rate.room


def remaining(tat: int, rate: Rate, now_us: int) -> int:
    return max(0, int((rate.room - (tat - now_us)) / rate.interval + 1e-9))


def give_back(tat: int, rate: Rate, units: int, now_us: int) -> int:
    return max(now_us, tat - cost(rate, units))
