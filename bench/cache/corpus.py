"""Pairs of questions that mean the same, and pairs that only look it: made from the scenarios in `corpus/`, seeded.

A scenario has ways to ask one thing (`same`) and things that differ in a word or two (`other`); its slots take values
that are easily confused. A paraphrase is two ways with equal values; a near-miss differs in one value, in the thing
asked, or in one small edit (a `not`, a number, an added condition). The surface is dressed at random, on either side.
"""

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import orjson
import yaml

from bench.cache.dressing import dress

SCENARIOS = Path(__file__).parent / "corpus"
PARTS = ("tuned", "held")
MOST_PER_SCENARIO = 130
"""Of each sort, so that a scenario with many slots does not outweigh the others."""


@dataclass(frozen=True, slots=True)
class Pair:
    a: str
    b: str
    same: bool
    domain: str
    language: str
    kind: str
    """paraphrase, slot (one value differs), asked (another thing is asked)."""
    part: str = "given"
    scenario: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    domain: str
    language: str
    part: str
    slots: dict[str, list[str]]
    same: list[str]
    other: list[str]

    def values(self) -> list[dict[str, str]]:
        names = list(self.slots)
        return [dict(zip(names, values, strict=True)) for values in product(*self.slots.values())]


def scenarios() -> list[Scenario]:
    found = []
    for path in sorted(SCENARIOS.glob("*.yaml")):
        for number, given in enumerate(yaml.safe_load(path.read_text(encoding="utf-8"))):
            found.append(_scenario(given, path.stem, number))
    return found


def _scenario(given: dict[str, Any], stem: str, number: int) -> Scenario:
    language = given.get("language", stem)
    slots = {name: [str(value) for value in values] for name, values in given["slots"].items()}
    return Scenario(f"{stem}-{number}", given["domain"], language, given["part"], slots, given["same"], given["other"])


def generate(seed: int) -> list[Pair]:
    """The same list for the same seed, whatever Python or machine."""
    pairs: list[Pair] = []
    for scenario in scenarios():
        chance = random.Random(f"{seed} {scenario.name}")
        for made in (_paraphrases(scenario), _slips(scenario, chance), _others(scenario, chance)):
            several = list(made)
            chance.shuffle(several)
            limit = MOST_PER_SCENARIO if several and several[0].same else MOST_PER_SCENARIO // 2
            pairs.extend(_dressed(pair, chance) for pair in several[:limit])
    return pairs


def _pair(scenario: Scenario, a: str, b: str, kind: str) -> Pair:
    same = kind == "paraphrase"
    return Pair(a, b, same, scenario.domain, scenario.language, kind, scenario.part, scenario.name)


def _paraphrases(scenario: Scenario) -> Iterator[Pair]:
    for values in scenario.values():
        for one, other in combinations(scenario.same, 2):
            yield _pair(scenario, one.format(**values), other.format(**values), "paraphrase")


def _slips(scenario: Scenario, chance: random.Random) -> Iterator[Pair]:
    """One value differs; half of them in the very same words."""
    for values in scenario.values():
        for name, choices in scenario.slots.items():
            for choice in choices:
                if choice != values[name]:
                    one = chance.choice(scenario.same)
                    other = one if chance.random() < 0.5 else chance.choice(scenario.same)
                    yield _pair(scenario, one.format(**values), other.format(**{**values, name: choice}), "slot")


def _others(scenario: Scenario, chance: random.Random) -> Iterator[Pair]:
    for values in scenario.values():
        for other in scenario.other:
            # Mostly against the first wording, which it was made from: the smallest edits are the hardest.
            one = scenario.same[0] if chance.random() < 0.6 else chance.choice(scenario.same)
            yield _pair(scenario, one.format(**values), other.format(**values), "asked")
            mine, theirs = chance.sample(scenario.other, 2)
            yield _pair(scenario, mine.format(**values), theirs.format(**values), "asked")


def _dressed(pair: Pair, chance: random.Random) -> Pair:
    a, b = dress(pair.a, pair.language, chance), dress(pair.b, pair.language, chance)
    if chance.random() < 0.5:
        a, b = b, a
    return Pair(a, b, pair.same, pair.domain, pair.language, pair.kind, pair.part, pair.scenario)


def read_pairs(path: Path) -> list[Pair]:
    """A file of one JSON object a line: `a`, `b`, `same`, and where known `domain`, `language`, `kind`, `part`."""
    pairs = []
    for line in path.read_bytes().splitlines():
        if line.strip():
            row = orjson.loads(line)
            names = ("domain", "language", "kind", "part")
            known = {name: str(row[name]) for name in names if name in row}
            defaults = {"domain": "general", "language": "", "kind": "paraphrase" if row["same"] else "near-miss"}
            pairs.append(Pair(str(row["a"]), str(row["b"]), bool(row["same"]), **{**defaults, **known}))
    return pairs


def write_pairs(pairs: list[Pair], path: Path) -> None:
    path.write_bytes(b"".join(orjson.dumps(asdict(pair)) + b"\n" for pair in pairs))
