"""Rates as GCRA, a token bucket kept in one number: the time at which the bucket will be full again (`tat`). Pure.

The same arithmetic as `admission.lua`, on integers, so both agree to the microsecond; it serves alone when Redis is
gone. No interval of any alignment admits more than limit + burst. Times are microseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

MINUTE_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`limit` calls a minute, of which `burst` may come at once (it counts the first)."""

    limit: int
    interval_us: int
    burst: int

    def share(self, workers: int) -> "Rate":
        """What one of `workers` may admit by itself, so that all of them together keep the limit."""
        if workers <= 1:
            return self
        return Rate(self.limit, self.interval_us * workers, max(1, self.burst // workers))


def per_minute(limit: int, burst: int | None = None) -> Rate:
    """The default burst is a sixth of the limit. Rounded up to whole microseconds, so never above the limit."""
    assert limit > 0
    return Rate(limit, -(-MINUTE_US // limit), max(1, limit // 6) if burst is None else burst)


class Verdict(NamedTuple):
    """`refused_by` is 1 + the index of the scope that makes the call wait longest, 0 when it is admitted.

    `scope` (1 + index too) is the one to report: the refusing one, else the one with the least room. `remaining` calls
    would be admitted there right now; it is full again after `reset_us`.
    """

    refused_by: int
    wait_us: int
    scope: int
    remaining: int
    reset_us: int


def load(stored: int, rate: Rate, now_us: int) -> int:
    """A time in the past is a full bucket; one further ahead than an empty bucket comes from another clock or limit."""
    return max(now_us, min(stored, now_us + rate.interval_us * rate.burst))


def admit(tats: list[int], rates: Sequence[Rate], scopes: Sequence[int], now_us: int) -> Verdict:
    """All scopes or none: `tats` (loaded, changed in place) move on only when every one of `scopes` has room."""
    refused_by = wait_us = 0
    for index in scopes:
        rate = rates[index]
        excess = tats[index] + rate.interval_us - now_us - rate.interval_us * rate.burst
        if excess > wait_us:
            wait_us, refused_by = excess, index + 1
    if refused_by:
        return _report(tats, rates, refused_by - 1, now_us, refused_by, wait_us)
    tightest = scopes[0]
    least: int | None = None
    for index in scopes:
        tats[index] += rates[index].interval_us
        remaining = _remaining(tats[index], rates[index], now_us)
        if least is None or remaining < least:
            tightest, least = index, remaining
    return _report(tats, rates, tightest, now_us, 0, 0)


def void(tats: list[int], rates: Sequence[Rate], scopes: Sequence[int], now_us: int) -> None:
    """Give back what a call took that never went on."""
    for index in scopes:
        tats[index] = max(now_us, tats[index] - rates[index].interval_us)


def _remaining(tat: int, rate: Rate, now_us: int) -> int:
    return (rate.interval_us * rate.burst - (tat - now_us)) // rate.interval_us


def _report(
    tats: Sequence[int], rates: Sequence[Rate], index: int, now_us: int, refused_by: int, wait_us: int
) -> Verdict:
    remaining = _remaining(tats[index], rates[index], now_us)
    return Verdict(refused_by, wait_us, index + 1, remaining, tats[index] - now_us)
