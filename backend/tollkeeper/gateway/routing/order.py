"""Puts the branches of one fork in order: which is tried first, which stands in for it. Pure.

A branch is ordered by the first target of its own order that may be asked now.
"""

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from math import inf, log
from typing import Final

from tollkeeper.contracts.catalog import ModelRoute
from tollkeeper.contracts.routing import Branch, Fork, Target
from tollkeeper.gateway.routing.facts import Facts
from tollkeeper.gateway.routing.health import Standing

Standings = Callable[[Target], Standing]

_MASK: Final = 2**64 - 1
_DRAWS: Final = 2.0**53
_MILLION: Final = 1_000_000


# A branch that is there for this call: its place in the fork, its weight, and its targets in order, at least one. A plain
# tuple: ten are made for each call to ten targets, and a named one costs three times as much.
Group = tuple[int, int, list[Target], Branch]


class Draws:
    """Numbers in [0, 1) out of one: the first is the one itself."""

    __slots__ = ("_is_fresh", "_share", "_state")

    def __init__(self, share: float) -> None:
        self._share = share
        self._state = int(share * 2**53)
        self._is_fresh = True

    def next(self) -> float:
        if self._is_fresh:
            self._is_fresh = False
            return self._share
        # Knuth's MMIX: its high bits are good, and cheap.
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        return (self._state >> 11) / 2**53


def by_weight(groups: list[Group], draws: Draws) -> list[Group]:
    """Drawn one after the other, each by its share of the weights that are left; those without weight last."""
    left = list(groups)
    total = sum([weight for _, weight, _, _ in left])
    ordered: list[Group] = []
    while total and len(left) > 1:
        point = draws.next() * total
        for position, (_, weight, _, _) in enumerate(left):  # noqa: B007 - the last stands where rounding leaves none
            point -= weight
            if point < 0:
                break
        total -= weight
        ordered.append(left.pop(position))
    return ordered + left


def by_hash(groups: list[Group], affinity: int) -> list[Group]:
    """Weighted rendezvous hashing (Schindelhauer & Schomaker, 2005): the same calls lead to the same branches, and a
    branch that comes, goes or changes its weight moves only the calls that it wins or loses.
    """
    scored = []
    for group in groups:
        position, weight, _, branch = group
        to = branch.to
        number = affinity ^ (_target_hash(to.provider, to.model) if type(to) is Target else _hash(_name(to)))
        # The finalizer of SplitMix64: every bit of the result depends on every bit of the number. Written out here, as
        # a call for each target costs as much as what it does.
        number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
        number ^= number >> 31
        # Exponentially distributed: a branch of twice the weight is nearer twice as often.
        distance = -log(((number >> 11) + 1) / _DRAWS) / weight if weight > 0 else inf
        scored.append((distance, position, group))
    scored.sort()
    return [group for _, _, group in scored]


def by_latency(groups: list[Group], standing: Standings, now: float, draws: Draws) -> list[Group]:
    """The better of two drawn at random first, so that not all calls of all workers run after the same fast one.

    Better: the lower latency times the calls under way. Nobody knows a target that was never asked: one at rest is
    taken at once when it is drawn, and counts as the slowest while its first answer is awaited.
    """
    free: list[tuple[float, int, Group]] = []
    blocked: list[Group] = []
    states = [
        (group, standing(targets[0] if len(targets := group[2]) == 1 else _first(targets, standing, now)))
        for group in groups
    ]
    known = [state.latency_seconds for _, state in states if state.latency_seconds is not None]
    slowest = max(known, default=1.0)
    for group, state in states:
        position = group[0]
        if state.blocked_until > now:
            blocked.append(group)
        elif state.latency_seconds is not None:
            free.append((state.latency_seconds * (state.in_flight + 1), position, group))
        else:
            free.append((slowest * (state.in_flight + 1) if state.in_flight else 0.0, position, group))
    if len(free) > 2:
        one = int(draws.next() * len(free))
        other = (one + 1 + int(draws.next() * (len(free) - 1))) % len(free)
        better = min(free[one], free[other])
        free.remove(better)
        free.sort()
        free.insert(0, better)
    else:
        free.sort()
    return [group for _, _, group in free] + blocked


def by_cost(groups: list[Group], route: ModelRoute, facts: Facts, standing: Standings) -> list[Group]:
    """The cheapest first, by what this call would cost there; the unpriced last, equals as configured."""
    priced = []
    prices, tokens, output = route.target_prices, facts.input_tokens, facts.output_tokens * _MILLION
    for group in groups:
        position, _, targets, _ = group
        target = targets[0] if len(targets) == 1 else _first(targets, standing, facts.now)
        price = prices.get((target.provider, target.model), route.price)
        cost: float = inf
        if price is not None:
            cached = int(standing(target).cache_read_share * _MILLION)
            read = price.input if price.cache_read is None else price.cache_read
            # A millionth of it per token: exact, and compared only.
            cost = tokens * (price.input * (_MILLION - cached) + read * cached) + output * price.output
        priced.append((cost, position, group))
    priced.sort()
    return [group for _, _, group in priced]


def _first(targets: list[Target], standing: Standings, now: float) -> Target:
    for target in targets:
        if standing(target).blocked_until <= now:
            return target
    return targets[0]


def _name(to: Target | Fork) -> str:
    """Of a branch: a target's provider and model, a policy's name, whatever their order and weights."""
    if isinstance(to, Target):
        return f"{to.provider}/{to.model}"
    return f"policy {to.name}" if to.name else "\n".join(sorted(_name(inner.to) for inner in to.branches))


@lru_cache(maxsize=4_096)
def _target_hash(provider: str, model: str) -> int:
    return _hash(f"{provider}/{model}")


@lru_cache(maxsize=4_096)
def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest())
