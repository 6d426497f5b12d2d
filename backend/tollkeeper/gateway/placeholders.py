"""What stands in a text for what was taken out of it; reversible ones lead back to it, on the way to the caller.

`[EMAIL]` goes out where nothing comes back, `<EMAIL_1>` where the original does: the same original has the same
placeholder all through a call, so that a model can tell two people apart.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import orjson

from tollkeeper.contracts.guardrails import Action
from tollkeeper.gateway.screen import Hit

# As models write them back: now and then escaped, or in another case.
_BACK: Final = re.compile(r"(?:<|&lt;|\\u003[cC])([A-Za-z][A-Za-z0-9_]{0,63}_[0-9]{1,6})(?:>|&gt;|\\u003[eE])")
# At the end of an unfinished text, one that may be on its way.
_BEGUN: Final = re.compile(r"(?:<|&|\\)[A-Za-z0-9_;&\\]{0,80}$")


class Placeholders:
    """Of one call. Originals live in here alone and go with it."""

    __slots__ = ("_by_original", "_originals", "_taken")

    def __init__(self) -> None:
        self._by_original: dict[tuple[str, str], str] = {}
        self._originals: dict[str, str] = {}
        # What the caller wrote that reads like one: it leads back to nothing.
        self._taken: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._originals)

    def for_hit(self, hit: Hit, original: str) -> str:
        label = hit.finding.label.upper()
        if hit.action is not Action.REVERSIBLE:
            return f"[{label}]"
        placeholder = self._by_original.get((label, original))
        if placeholder is None:
            number = sum(known == label for known, _ in self._by_original) + 1
            while f"{label}_{number}" in self._taken or f"{label}_{number}" in self._originals:
                number += 1
            placeholder = f"<{label}_{number}>"
            self._by_original[label, original] = placeholder
            self._originals[placeholder[1:-1]] = original
        return placeholder

    def avoid(self, texts: Iterable[str]) -> None:
        """Before anything is taken out of them: a caller's own `<CARD_1>` must not come back as somebody's card."""
        for text in texts:
            if "_" in text:
                self._taken.update(match.group(1).upper() for match in _BACK.finditer(text))

    def edits(self, text: str, hits: Iterable[Hit]) -> list[tuple[int, int, str]]:
        """What to replace, in order and without overlap: where matches meet, the longer one and the stricter."""
        chosen: list[Hit] = []
        changing = [hit for hit in hits if hit.is_changing]
        if changing:
            self.avoid((text,))
        changing.sort(key=lambda hit: (hit.finding.start, hit.action is not Action.REDACT, -hit.finding.end))
        for hit in changing:
            if chosen and hit.finding.start < chosen[-1].finding.end:
                if hit.finding.end > chosen[-1].finding.end:
                    chosen[-1] = _joined(chosen[-1], hit)
                continue
            chosen.append(hit)
        return [
            (hit.finding.start, hit.finding.end, self.for_hit(hit, text[hit.finding.start : hit.finding.end]))
            for hit in chosen
        ]

    def restore(self, text: str) -> str:
        if not self._originals or ("<" not in text and "&" not in text and "\\" not in text):
            return text
        return _BACK.sub(self._original, text)

    def places(self, text: str, *, is_json: bool) -> list[tuple[int, int, str]]:
        """Where originals come back, and what: within JSON as its strings have them."""
        if "_" not in text:
            return []
        found = []
        for match in _BACK.finditer(text):
            original = self._originals.get(match.group(1).upper())
            if original is not None:
                back = orjson.dumps(original).decode()[1:-1] if is_json else original
                found.append((match.start(), match.end(), back))
        return found

    def held_from(self, text: str) -> int:
        """Of an unfinished text: where a placeholder may have begun."""
        if not self._originals:
            return len(text)
        match = _BEGUN.search(text, max(0, len(text) - 90))
        return len(text) if match is None else match.start()

    def _original(self, match: "re.Match[str]") -> str:
        return self._originals.get(match.group(1).upper(), match.group(0))


def apply(text: str, edits: Iterable[tuple[int, int, str]]) -> str:
    pieces, at = [], 0
    for start, end, replacement in edits:
        pieces += [text[at:start], replacement]
        at = end
    pieces.append(text[at:])
    return "".join(pieces)


def slice_of(text: str, edits: Sequence[tuple[int, int, str]], start: int, end: int) -> str:
    """What becomes of a piece of the text; a replacement stands where what it replaces begins."""
    pieces, at = [], start
    for begin, until, replacement in edits:
        if until <= start or begin >= end:
            continue
        if begin >= start:
            pieces += [text[at:begin], replacement]
        at = max(at, min(until, end))
    pieces.append(text[at:end])
    return "".join(pieces)


def _joined(one: Hit, other: Hit) -> Hit:
    """Two that overlap go out as one, under the name of the first."""
    return replace(one, finding=replace(one.finding, end=other.finding.end))
