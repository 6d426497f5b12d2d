"""The arithmetic behind the tables: percentiles, and ratios taken pair by pair. Pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of values already in ascending order; `share` is 0.99 for p99."""
    if not ordered:
        raise ValueError("no values")
    rank = max(1, math.ceil(share * len(ordered)))
    return ordered[rank - 1]


@dataclass(frozen=True)
class Spread:
    """How a set of durations is spread, in milliseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


def spread_ms(seconds: Sequence[float]) -> Spread | None:
    """Summarise durations given in seconds; None when there are none."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return Spread(
        count=len(ordered),
        p50=percentile(ordered, 0.50) * 1000,
        p90=percentile(ordered, 0.90) * 1000,
        p99=percentile(ordered, 0.99) * 1000,
        max=ordered[-1] * 1000,
    )


@dataclass(frozen=True)
class Paired:
    """One figure measured for the floor and for the target in turn, and what one is of the other.

    `ratio` is the median of the ratios of neighbours in time, not the ratio of the medians: whatever slowed the machine
    for one round slowed both halves of that pair.
    """

    floor: float
    target: float
    ratio: float
    ratio_low: float
    ratio_high: float


def pair_up(floor: Sequence[float], target: Sequence[float]) -> Paired:
    """Pair the rounds of two series of equal length."""
    ratios = [theirs / ours for ours, theirs in zip(floor, target, strict=True)]
    return Paired(
        floor=statistics.median(floor),
        target=statistics.median(target),
        ratio=statistics.median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
    )
