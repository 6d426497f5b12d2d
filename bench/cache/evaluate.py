"""How often a rule serves, and how often wrongly: cosine alone, guards alone, both, over pairs whose truth is known.

A pair is one candidate: its hit rate is the share of paraphrases that are served, its false-hit rate the share of what is
served that should not have been. Intervals are Wilson's, at 95 %.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.cache.corpus import Pair
from tollkeeper.gateway.cache.guards import find_refusal, read
from tollkeeper.gateway.cache.similarity import Point, choose, wilson

Floats = npt.NDArray[np.float32]

# Enough points for a curve, each a similarity that a policy could name.
STEPS = tuple(round(0.5 + 0.01 * step, 2) for step in range(51))
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair with what the two judges say. `similarity` None: nothing embeds here."""

    pair: Pair
    similarity: float | None
    refused_by: str


@dataclass(frozen=True, slots=True)
class Rates:
    paraphrases: int
    near_misses: int
    hits: int
    wrong: int

    @property
    def served(self) -> int:
        return self.hits + self.wrong

    @property
    def hit_rate(self) -> float:
        return self.hits / self.paraphrases if self.paraphrases else 0.0

    @property
    def hit_interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.paraphrases)

    @property
    def false_rate(self) -> float:
        return self.wrong / self.served if self.served else 0.0

    @property
    def false_interval(self) -> tuple[float, float]:
        return wilson(self.wrong, self.served)


def embed_all(
    texts: Iterable[str], embed: Callable[[list[str]], Floats], say: Callable[[str], None]
) -> dict[str, Floats]:
    """Each text once, the short ones first, so that equal lengths meet."""
    waiting = sorted(set(texts), key=lambda text: (len(text), text))
    found: dict[str, Floats] = {}
    for start in range(0, len(waiting), _BATCH):
        batch = waiting[start : start + _BATCH]
        found.update(zip(batch, embed(batch), strict=True))
        if start % (_BATCH * 40) == 0:
            say(f"embedded {start} of {len(waiting)} questions")
    return found


def judge_all(pairs: Sequence[Pair], vectors: dict[str, Floats] | None) -> list[Judged]:
    found = []
    for pair in pairs:
        refusal = find_refusal(read(pair.a), read(pair.b))
        similarity = None if vectors is None else float(vectors[pair.a] @ vectors[pair.b])
        found.append(Judged(pair, similarity, "" if refusal is None else refusal.guard))
    return found


def rates(judged: Sequence[Judged], serves: Callable[[Judged], bool]) -> Rates:
    served = [each.pair.same for each in judged if serves(each)]
    same = sum(each.pair.same for each in judged)
    return Rates(same, len(judged) - same, sum(served), len(served) - sum(served))


def by_guards(judged: Judged) -> bool:
    return not judged.refused_by


def by_cosine(threshold: float) -> Callable[[Judged], bool]:
    return lambda judged: judged.similarity is not None and judged.similarity >= threshold


def by_both(threshold: float) -> Callable[[Judged], bool]:
    cosine = by_cosine(threshold)
    return lambda judged: not judged.refused_by and cosine(judged)


def curve(judged: Sequence[Judged], *, with_guards: bool) -> tuple[Point, ...]:
    points = []
    for step in STEPS:
        found = rates(judged, by_both(step) if with_guards else by_cosine(step))
        points.append(Point(step, found.served, found.wrong))
    return tuple(points)


def best_cosine(judged: Sequence[Judged], bound: float) -> float | None:
    """The similarity with the most hits whose false hits stay within the bound, as a bare threshold; None: there is none."""
    fitting = [(step, rates(judged, by_cosine(step))) for step in STEPS]
    fitting = [(step, found) for step, found in fitting if found.served and found.false_interval[1] <= bound]
    return max(fitting, key=lambda each: each[1].hits)[0] if fitting else None


def thresholds(judged: Sequence[Judged], delta: float) -> dict[str, float | None]:
    """What a policy would get for each domain, measured on these pairs; `general` is for all others."""
    found = {}
    for domain, some in by_domain(judged).items():
        chosen = choose(curve(some, with_guards=True), delta)
        found[domain] = None if chosen is None else chosen.similarity
    return found


def by_domain(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    domains = sorted({each.pair.domain for each in judged})
    return {
        "general": list(judged),
        **{name: [each for each in judged if each.pair.domain == name] for name in domains},
    }
