"""Looks for many shapes in one pass: an RE2 set says which of them are there at all, and only those are located.

Time is linear in the text whatever the patterns and the text are. The work is done on the text's UTF-8 bytes, once
encoded; offsets are turned back into characters at the end.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import re2

from tollkeeper.gateway.folding import fold
from tollkeeper.gateway.guardrail import MOST_HELD, Finding, Shape

# Of one set's automaton. It is built while it runs and thrown away when it is full, which only costs time.
_SET_BYTES: Final = 64 << 20
# So many of a shape's matches are located in one text; more are the same news.
_MOST_MATCHES: Final = 10_000
_WORD: Final = re.compile(rb"[0-9A-Za-z]*")
_EASTERN: Final = "\u2e80"


@dataclass(frozen=True, slots=True)
class OwnShape:
    rule: str
    shape: Shape


class Shapes:
    """`Shapes([("pii", [shape, …]), …])`. Raises `ValueError` for a pattern that RE2 does not know, with the reason."""

    def __init__(self, rules: Iterable[tuple[str, Sequence[Shape]]]) -> None:
        self._own = [OwnShape(rule, shape) for rule, shapes in rules for shape in shapes]
        self._set = re2.Set.SearchSet(_options())
        self._patterns = []
        for own in self._own:
            pattern = f"(?i){own.shape.pattern}" if own.shape.ignores_case else own.shape.pattern
            try:
                compiled = re2.compile(pattern, _options())
            except re2.error as error:
                raise ValueError(f"{own.shape.label}: {error}") from None
            self._patterns.append(compiled)
            self._set.Add(pattern)
        if self._own:
            self._set.Compile()
        self._tails = list(dict.fromkeys(own.shape.tail for own in self._own))

    def find(self, text: str) -> list[Finding]:
        """What is there, by where it begins; overlapping finds of different shapes are all told."""
        if not self._own or not text:
            return []
        folded, places = fold(text)
        data = folded.encode("utf-8", "surrogatepass")
        present = self._set.Match(data)
        if not present:
            return []
        to_characters = _Characters(data) if len(data) != len(folded) else None
        findings: list[Finding] = []
        for index in present:
            findings += self._locate(self._own[index], index, folded, data, to_characters)
        if places is not None:
            findings = [
                Finding(f.rule, f.label, places[f.start], places[f.end - 1] + 1, f.score, f.because) for f in findings
            ]
        findings.sort(key=lambda finding: (finding.start, -finding.end))
        return findings

    def held_from(self, text: str) -> int:
        """Of an unfinished text: where the earliest thing begins that what follows could complete; its length: nowhere."""
        begin = max(0, len(text) - MOST_HELD)
        end = text[begin:]
        held = len(end)
        for tail in self._tails:
            held = min(held, tail(end))
        return begin + held

    def _locate(
        self, own: OwnShape, index: int, text: str, data: bytes, to_characters: "_Characters | None"
    ) -> Iterable[Finding]:
        shape = own.shape
        pattern = self._patterns[index]
        group = 1 if pattern.groups else 0
        count = at = 0
        if to_characters is not None:
            to_characters.rewind()
        while (match := pattern.search(data, at)) is not None:
            start, end = match.span()
            at = max(end, start + 1)
            if shape.is_word and data[at - 1 : at].isalnum():
                # What begins in the middle of a word is none, and a word may be a megabyte of digits.
                at = _WORD.match(data, at).end()  # type: ignore[union-attr]
            if group:
                start, end = match.span(group)
            if start < 0:
                continue
            if to_characters is not None:
                start, end = to_characters.at(start), to_characters.at(end)
            if shape.is_word and not _stands_alone(text, start, end):
                continue
            score = shape.accept(text, start, end)
            if score > 0:
                yield Finding(own.rule, shape.label, start, end, score)
            count += 1
            if count == _MOST_MATCHES:
                return


class _Characters:
    """Offsets of bytes as offsets of characters, for ascending ones in one walk."""

    __slots__ = ("_byte", "_character", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.rewind()

    def rewind(self) -> None:
        self._byte = self._character = 0

    def at(self, byte: int) -> int:
        if byte < self._byte:
            self.rewind()
        self._character += len(self._data[self._byte : byte].decode("utf-8", "surrogatepass"))
        self._byte = byte
        return self._character


def _stands_alone(text: str, start: int, end: int) -> bool:
    return not (start > 0 and _is_of_word(text[start - 1])) and not (end < len(text) and _is_of_word(text[end]))


def _is_of_word(letter: str) -> bool:
    """Scripts of the far east write without spaces: their letters stand beside a value, not in it."""
    return letter < _EASTERN and letter.isalnum()


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = _SET_BYTES
    options.log_errors = False
    return options
