"""Attacks on a model's instructions, by what they say: heuristics over text made plain. Scored and explained.

It knows families, not intentions. An attack worded as no known family is passes: `docs/guardrails.md` has the figures.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from tollkeeper.gateway.guardrail import WHOLE, Finding, Part, PartKind
from tollkeeper.gateway.guardrails.injection.concepts import CONCEPTS, PAIRS, Pair
from tollkeeper.gateway.guardrails.injection.families import ABOUT, PHRASES
from tollkeeper.gateway.guardrails.injection.plain import Layer, layers
from tollkeeper.gateway.shapes import compiled, set_of

FAMILIES: Final = tuple(dict.fromkeys(phrase.family for phrase in PHRASES))
# So many of one phrase, and of one idea, are looked at.
_MOST_PHRASES: Final = 20
_MOST_IDEAS: Final = 500
# Where a match is spoken about, it says this much less.
_ABOUT_FACTOR: Final = 0.45
_REACH: Final = 160
# Words for the model have no place in what it only reads.
_READ: Final = frozenset({PartKind.DOCUMENT, PartKind.TOOL_RESULT})
# Automata of so many each: together they would need more states than apart.
_SET_SIZE: Final = 20
# Whether a thing is there at all is asked without counting: what counts is asked where something is.
_UP_TO: Final = re.compile(r"(?<!\\)\{([01]),[0-9]+\}\??")
_ENOUGH: Final = 0.5
_READ_FACTOR: Final = 1.15
# To hide it is half the deed.
_HIDDEN_FACTOR: Final = 1.2


class InjectionSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ignore: frozenset[
        Literal["override", "persona", "bypass", "extraction", "exfiltration", "delimiter", "authority", "hidden"]
    ] = Field(frozenset(), description="Families to leave alone.")
    trust_system: bool = Field(True, description="Leave the system prompt alone: who writes it gives the instructions.")


class Injection:
    NAME: ClassVar[str] = "injection"
    TITLE: ClassVar[str] = "Prompt injection and jailbreaks, by what they say"
    Settings: ClassVar[type[BaseModel]] = InjectionSettings
    WINDOW: ClassVar[int] = WHOLE

    def __init__(self, settings: InjectionSettings) -> None:
        self._phrases = [phrase for phrase in PHRASES if phrase.family not in settings.ignore]
        self._pairs = [pair for pair in PAIRS if pair.family not in settings.ignore]
        ideas = dict.fromkeys(idea for pair in self._pairs for idea in (pair.first, pair.second))
        self._trusts_system = settings.trust_system
        patterns = [*(phrase.pattern for phrase in self._phrases), *(CONCEPTS[idea] for idea in ideas)]
        gates = [_UP_TO.sub(lambda count: "*" if count.group(1) == "0" else "+", pattern) for pattern in patterns]
        self._sets = [(at, set_of(tuple(gates[at : at + _SET_SIZE]))) for at in range(0, len(gates), _SET_SIZE)]
        self._patterns = [compiled(pattern) for pattern in patterns]
        self._ideas = {idea: number for number, idea in enumerate(ideas, len(self._phrases))}
        self._about = compiled(ABOUT)

    def check(self, part: Part) -> Sequence[Finding]:
        if not self._phrases or (self._trusts_system and part.role in {"system", "developer"}):
            return ()
        best: Finding | None = None
        for layer in layers(part.text):
            finding = self._judge(layer, part)
            if finding is not None and (best is None or finding.score > best.score):
                best = finding
        return () if best is None else (best,)

    def _judge(self, layer: Layer, part: Part) -> Finding | None:
        data = layer.text.encode("utf-8", "replace")
        present = frozenset(at + index for at, found in self._sets for index in found.Match(data) or ())
        if not present:
            return None
        evidence: dict[str, _Evidence] = {}
        for key, family, weight, start, end in self._matches(data, present):
            # Its best match: one that is spoken about may stand beside one that is not.
            held = weight * (_ABOUT_FACTOR if self._is_about(data, start, end) else 1.0)
            known = evidence.get(key)
            if known is None:
                evidence[key] = _Evidence(family, held, start, end)
            else:
                known.weight = max(known.weight, held)
                known.start, known.end = min(known.start, start), max(known.end, end)
        if not evidence:
            return None
        score = 1.0
        for one in evidence.values():
            score *= 1.0 - one.weight
        score = 1.0 - score
        if part.kind in _READ:
            score *= _READ_FACTOR
        if layer.how and layer.how != "leet":
            score *= _HIDDEN_FACTOR
        best = sorted(evidence.values(), key=lambda one: -one.weight)
        families = list(dict.fromkeys(one.family for one in best))
        because = ", ".join(families) + (f" ({layer.how})" if layer.how else "")
        first, last = min(one.start for one in best), max(one.end for one in best)
        start, end = _place(layer, len(data[:first].decode()), len(data[:last].decode()))
        return Finding(self.NAME, families[0], start, end, min(round(score, 3), 1.0), because)

    def _matches(self, data: bytes, present: frozenset[int]) -> Iterator[tuple[str, str, float, int, int]]:
        """Under which key, of which family, how much, and where."""
        for index in present:
            if index < len(self._phrases):
                phrase = self._phrases[index]
                for match in islice(self._patterns[index].finditer(data), _MOST_PHRASES):
                    yield phrase.family, phrase.family, phrase.weight, *match.span()
        places: dict[str, list[tuple[int, int]]] = {}
        for pair in self._pairs:
            ideas = pair.first, pair.second
            if any(self._ideas[idea] not in present for idea in ideas):
                continue
            for idea in ideas:
                if idea not in places:
                    found = self._patterns[self._ideas[idea]].finditer(data)
                    places[idea] = [match.span() for match in islice(found, _MOST_IDEAS)]
            for start, end in islice(_close(pair, places[pair.first], places[pair.second], data), _MOST_PHRASES):
                # What says little adds up; what says enough is no news where a phrase says it as well.
                key = f"{pair.family}: {pair.first}" if pair.weight < _ENOUGH else pair.family
                yield key, pair.family, pair.weight, start, end

    def _is_about(self, data: bytes, start: int, end: int) -> bool:
        """In quotation marks, or beside words of those who write about it."""
        before, behind = data[max(0, start - _REACH) : start], data[end : end + _REACH // 2]
        if before.endswith(_QUOTES) or behind.startswith(_QUOTES):
            return True
        return self._about.search(before + b" " + behind) is not None


@dataclass(slots=True)
class _Evidence:
    family: str
    weight: float
    start: int
    end: int


def _close(
    pair: Pair, first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]], data: bytes
) -> Iterator[tuple[int, int]]:
    """Where both stand close to each other, in one line."""
    if pair.first == pair.second:
        yield from first
        return
    at = 0
    for start, end in first:
        # What ends too far before this one is too far from all that follow.
        while at < len(second) and second[at][1] < start - pair.gap:
            at += 1
        for begin, until in second[at:]:
            if begin > end + pair.gap:
                break
            if begin >= end or (pair.in_any_order and until <= start):
                between = data[end:begin] if begin >= end else data[until:start]
                if b"\n" not in between:
                    yield min(start, begin), max(end, until)
                    break


_QUOTES: Final = tuple(mark.encode() for mark in "\"'“”‘’«»„`")


def _place(layer: Layer, first: int, last: int) -> tuple[int, int]:
    if layer.how and layer.places is None:
        return layer.start, layer.end
    if layer.places is None:
        return first, last
    return layer.places[first], layer.places[last - 1] + 1
