"""Traffic as a support desk has it: few questions asked very often, in many wordings, among many that nobody asks twice.

Questions come in the order of Zipf's law, wordings too; a share of the traffic is unlike anything before. The caches see
it as a worker does: to the letter first, then by meaning.
"""

import random
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from bench.cache.corpus import Scenario, scenarios
from bench.cache.dressing import dress
from tollkeeper.gateway.cache.guards import find_refusal, read, signature

Floats = npt.NDArray[np.float32]

QUESTIONS = 5_000
_EXPONENT = 1.0
_UNIQUE = 0.25
"""Of the traffic: what is about one case alone, and no cache can know."""


@dataclass(frozen=True, slots=True)
class Asked:
    text: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Traced:
    questions: int
    exact: int
    semantic: int
    wrong: int

    @property
    def hit_rate(self) -> float:
        return (self.exact + self.semantic) / self.questions


def make_trace(seed: int, questions: int = QUESTIONS) -> list[Asked]:
    chance = random.Random(f"{seed} trace")
    desk = [scenario for scenario in scenarios() if scenario.domain in {"support", "finance", "travel"}]
    meanings = [(scenario, values) for scenario in desk for values in scenario.values()]
    chance.shuffle(meanings)
    of_meaning, found = _zipf(len(meanings)), []
    for number in range(questions):
        if chance.random() < _UNIQUE:
            found.append(_unique(chance, number))
            continue
        scenario, values = meanings[of_meaning(chance)]
        wording = scenario.same[_zipf(len(scenario.same))(chance)]
        text = dress(wording.format(**values), scenario.language, chance)
        found.append(Asked(text, _meaning(scenario, values)))
    return found


def replay(trace: list[Asked], embed: Callable[[str], Floats], threshold: float) -> Traced:
    seen: dict[str, str] = {}
    known: dict[bytes, list[tuple[str, str]]] = {}
    exact = semantic = wrong = 0
    for asked in trace:
        if asked.text in seen:
            exact += 1
            wrong += seen[asked.text] != asked.meaning
            continue
        reading = read(asked.text)
        sign = signature(reading)
        passing = [
            (float(embed(text) @ embed(asked.text)), meaning)
            for text, meaning in known.get(sign or b"", ())
            if find_refusal(reading, read(text)) is None
        ]
        best = max(passing, default=None)
        if best is not None and best[0] >= threshold:
            semantic += 1
            wrong += best[1] != asked.meaning
            # Served by meaning: no entry of its own, as in the gateway.
            continue
        seen[asked.text] = asked.meaning
        if sign is not None:
            known.setdefault(sign, []).append((asked.text, asked.meaning))
    return Traced(len(trace), exact, semantic, wrong)


def _unique(chance: random.Random, number: int) -> Asked:
    text = f"Ticket {chance.randrange(10**6, 10**7)}: what happened to case {chance.randrange(10**5, 10**6)}?"
    return Asked(text, f"unique {number}")


def _meaning(scenario: Scenario, values: dict[str, str]) -> str:
    return f"{scenario.name} {sorted(values.items())}"


def _zipf(size: int) -> Callable[[random.Random], int]:
    sums = list(accumulate(1 / (rank + 1) ** _EXPONENT for rank in range(size)))
    return lambda chance: min(size - 1, bisect(sums, chance.random() * sums[-1]))
