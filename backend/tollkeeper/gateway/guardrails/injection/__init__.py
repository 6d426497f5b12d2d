"""Attacks on a model's instructions, by what they say: heuristics over text made plain. Scored and explained.

It knows families, not intentions. An attack worded as no known family is passes: `docs/guardrails.md` has the figures.
"""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

import re2
from pydantic import BaseModel, ConfigDict, Field

from tollkeeper.gateway.guardrail import WHOLE, Finding, Part, PartKind
from tollkeeper.gateway.guardrails.injection.families import ABOUT, PHRASES
from tollkeeper.gateway.guardrails.injection.plain import Layer, layers

FAMILIES: Final = tuple(dict.fromkeys(phrase.family for phrase in PHRASES))
# Where a match is spoken about, it says this much less.
_ABOUT_FACTOR: Final = 0.45
_REACH: Final = 160
# Words for the model have no place in what it only reads.
_READ: Final = frozenset({PartKind.DOCUMENT, PartKind.TOOL_RESULT})
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
        options = re2.Options()
        options.max_mem = 64 << 20
        options.log_errors = False
        self._phrases = [phrase for phrase in PHRASES if phrase.family not in settings.ignore]
        self._trusts_system = settings.trust_system
        self._set = re2.Set.SearchSet(options)
        for phrase in self._phrases:
            self._set.Add(phrase.pattern)
        if self._phrases:
            self._set.Compile()
        self._patterns = [re2.compile(phrase.pattern, options) for phrase in self._phrases]
        self._about = re2.compile(ABOUT, options)

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
        text = layer.text
        present = self._set.Match(text.encode("utf-8", "surrogatepass"))
        if not present:
            return None
        by_family: dict[str, float] = {}
        first, last = len(text), 0
        for index in present:
            phrase = self._phrases[index]
            # Its best match: one that is spoken about may stand beside one that is not.
            weight = 0.0
            for count, match in enumerate(self._patterns[index].finditer(text)):
                start, end = match.span()
                first, last = min(first, start), max(last, end)
                weight = max(weight, phrase.weight * (_ABOUT_FACTOR if self._is_about(text, start, end) else 1.0))
                if count == 20:
                    break
            by_family[phrase.family] = max(by_family.get(phrase.family, 0.0), weight)
        score = 1.0
        for weight in by_family.values():
            score *= 1.0 - weight
        score = 1.0 - score
        if part.kind in _READ:
            score *= _READ_FACTOR
        if layer.how and layer.how != "leet":
            score *= _HIDDEN_FACTOR
        families = sorted(by_family, key=by_family.__getitem__, reverse=True)
        because = ", ".join(families) + (f" ({layer.how})" if layer.how else "")
        start, end = _place(layer, first, last)
        return Finding(self.NAME, families[0], start, end, min(round(score, 3), 1.0), because)

    def _is_about(self, text: str, start: int, end: int) -> bool:
        """In quotation marks, or beside words of those who write about it."""
        if text[max(0, start - 1) : start] in _QUOTES or text[end : end + 1] in _QUOTES:
            return True
        around = text[max(0, start - _REACH) : start] + " " + text[end : end + _REACH // 2]
        return self._about.search(around) is not None


_QUOTES: Final = frozenset("\"'“”‘’«»„`")


def _place(layer: Layer, first: int, last: int) -> tuple[int, int]:
    if layer.how and layer.places is None:
        return layer.start, layer.end
    if layer.places is None:
        return first, last
    return layer.places[first], layer.places[last - 1] + 1
