"""Looks for many shapes in one pass: an RE2 set says which of them are there at all, and only those are located.

Numbers and codes are looked for only where a word of digits or capitals begins: a number can begin at each of its digits,
and an automaton that follows all of them at once grows with every one. So time is linear in the text whatever the patterns
and the text are. The work is done on the text's UTF-8 bytes; offsets are turned back into characters at the end.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import re2

from tollkeeper.gateway.context_words import Words, before
from tollkeeper.gateway.folding import fold
from tollkeeper.gateway.guardrail import MOST_HELD, Finding, Shape, Start

# Of one set's automaton. It is built while it runs and thrown away when it is full, which only costs time.
_SET_BYTES: Final = 16 << 20
_PATTERN_BYTES: Final = 8 << 20
# So many of a shape's matches are located in one text: what stands behind them counts as one more.
_MOST_MATCHES: Final = 10_000
# The longest number or code, with all that may stand between its letters.
_LONGEST_WORD: Final = 96
# Together they need more states than apart: of so many each, building them costs a fifth and passing them hardly more.
_SET_SIZE: Final = 64
_STRIDE: Final = 256
_EASTERN: Final = "\u2e80"
_GUARD: Final = "(?:^|[^0-9A-Za-z])"
# Whether a thing is there at all is known at its shortest: what may follow would only make the automaton larger.
_OPEN_END: Final = re.compile(r"(?<=[\])a-z])\{([0-9]+),[0-9]*\}$")
_BEGINNINGS: Final = {
    Start.NUMBER: r"[0-9+(](?:[ ./()\-]{0,3}[0-9]){5}",
    Start.CODE: r"[A-Z][A-Z]{0,7}[ \-]?[0-9]|[A-Za-z]{2}[0-9]{2}",
}


class _Group:
    """Shapes that begin alike: found by where they can begin, then all of them at once from there."""

    def __init__(self, start: Start, own: Sequence["_Own"]) -> None:
        self.own = own
        self.gate = f"{_GUARD}(?:{_BEGINNINGS[start]})"
        self._first = compiled(self.gate)
        # Of ours, without alternatives that overlap: linear.
        self._next = re.compile(rf"(?<![0-9A-Za-z])(?=(?:{_BEGINNINGS[start]}))".encode())
        self._patterns = [f"({one.pattern})(?:[^0-9A-Za-z]|$)" for one in own]
        self.find = set_of(tuple(self._patterns), is_anchored=True).Match

    def pattern(self, index: int) -> Any:
        return compiled(self._patterns[index])

    def beginnings(self, data: bytes) -> Iterator[int]:
        """RE2 reads past what has none much faster, and Python's own finds the next one nearby much faster."""
        at = 0
        while (match := self._first.search(data, max(at - 1, 0))) is not None:
            begin = max(match.start(), at)
            at = begin + _STRIDE
            for near in self._next.finditer(data, begin, at + _LONGEST_WORD):
                if near.start() >= at:
                    break
                yield near.start()


@dataclass(frozen=True, slots=True)
class _Own:
    rule: str
    shape: Shape
    pattern: str
    # Of which set of words one has to be in the text; -1: none.
    words: int


class Shapes:
    """`Shapes([("pii", [shape, …]), …])`. Raises `ValueError` for a pattern that RE2 does not know, with the reason."""

    def __init__(self, rules: Iterable[tuple[str, Sequence[Shape]]]) -> None:
        words: dict[Words, int] = {}
        every = []
        for rule, shapes in rules:
            for shape in shapes:
                number = -1 if shape.needs is None else words.setdefault(shape.needs, len(words))
                every.append(_Own(rule, shape, _pattern(shape), number))
        self._own = [one for one in every if one.shape.start is Start.ANYWHERE]
        self._groups = [
            _Group(start, [one for one in every if one.shape.start is start])
            for start in _BEGINNINGS
            if any(one.shape.start is start for one in every)
        ]
        guarded = [_guarded(one) for one in self._own]
        self._patterns = [locating for _, locating in guarded]
        self._first_words = len(self._own)
        self._first_group = self._first_words + len(words)
        # One pass says all that it can say: which shapes, which words, which beginnings there are.
        gates = [
            *(shortest for shortest, _ in guarded),
            *(one.gate for one in words),
            *(one.gate for one in self._groups),
        ]
        self._sets = [
            (first, set_of(tuple(gates[first : first + _SET_SIZE])).Match) for first in range(0, len(gates), _SET_SIZE)
        ]
        self._is_empty = not every
        self._tails = list(dict.fromkeys(one.shape.tail for one in every))

    def find(self, text: str) -> list[Finding]:
        """What is there, by where it begins; overlapping finds of different shapes are all told."""
        if self._is_empty or not text:
            return []
        folded, places = fold(text)
        # Half of a surrogate pair is a sign like any other, and one character in both.
        data = folded.encode("utf-8", "replace")
        found: list[int] = []
        for first, match in self._sets:
            here = match(data)
            if here:
                found += [first + index for index in here]
        if not found:
            return []
        present = frozenset(found)
        looked_at = _Text(folded, data, present)
        findings: list[Finding] = []
        for index in present:
            if index < self._first_words and self._can_be(self._own[index], present):
                findings += self._search(index, looked_at)
        for number, group in enumerate(self._groups, self._first_group):
            if number in present:
                findings += self._look_at_words(group, looked_at)
        if places is not None:
            findings = [
                Finding(f.rule, f.label, places[f.start], places[f.end - 1] + 1, f.score, f.because) for f in findings
            ]
        return sorted(dict.fromkeys(findings), key=lambda finding: (finding.start, -finding.end))

    def held_from(self, text: str) -> int:
        """Of an unfinished text: where the earliest thing begins that what follows could complete; its length: nowhere."""
        begin = max(0, len(text) - MOST_HELD)
        end = text[begin:] if begin else text
        held = len(end)
        for tail in self._tails:
            held = min(held, tail(end))
        return begin + held

    def _can_be(self, own: _Own, present: frozenset[int]) -> bool:
        return own.words < 0 or self._first_words + own.words in present

    def _search(self, index: int, looked_at: "_Text") -> Iterator[Finding]:
        own, pattern = self._own[index], compiled(self._patterns[index])
        group = 1 if pattern.groups else 0
        count = at = 0
        while count < _MOST_MATCHES and (match := pattern.search(looked_at.data, at)) is not None:
            start, end = match.span(group)
            at = max(match.end() if group == 0 else max(end, match.start()), match.start() + 1)
            count += 1
            if 0 <= start < end:
                finding = looked_at.judged(own, start, end)
                if finding is not None:
                    yield finding
        if count == _MOST_MATCHES and at < len(looked_at.data):
            # Unread does not mean clean.
            yield looked_at.rest(own, at)

    def _look_at_words(self, group: _Group, looked_at: "_Text") -> Iterator[Finding]:
        present = looked_at.present
        able = frozenset(index for index, own in enumerate(group.own) if self._can_be(own, present))
        data, find = looked_at.data, group.find
        until: dict[tuple[str, str], int] = {}
        for begin in group.beginnings(data):
            word = data[begin : begin + _LONGEST_WORD]
            found = find(word)
            if not found or able.isdisjoint(found):
                continue
            for index in sorted(able.intersection(found)):
                own = group.own[index]
                if begin < until.get((own.rule, own.shape.label), 0) or not looked_at.is_named(own, begin):
                    continue
                match = group.pattern(index).match(word)
                if match is None:
                    continue
                finding = looked_at.judged(own, begin, begin + match.end(1))
                if finding is not None:
                    until[own.rule, own.shape.label] = begin + match.end(1)
                    yield finding


class _Text:
    """A text in its bytes, what is in it at all, and places in bytes as places in characters."""

    __slots__ = ("_byte", "_character", "_is_ascii", "_said", "_said_at", "data", "present", "text")

    def __init__(self, text: str, data: bytes, present: frozenset[int]) -> None:
        self.text = text
        self.data = data
        self.present = present
        self._is_ascii = len(text) == len(data)
        self._byte = self._character = 0
        self._said = ""
        self._said_at = -1

    def is_named(self, own: _Own, byte: int) -> bool:
        needs = own.shape.needs
        if needs is None:
            return True
        if self._said_at != byte:
            self._said, self._said_at = before(self.text, self._at(byte)), byte
        return needs.are_in(self._said)

    def judged(self, own: _Own, start: int, end: int) -> Finding | None:
        """`start` and `end` in bytes; None: it is none."""
        if not self.is_named(own, start):
            return None
        shape = own.shape
        start, end = self._at(start), self._at(end)
        if shape.is_word and not _stands_alone(self.text, start, end):
            return None
        score = shape.accept(self.text, start, end)
        return Finding(own.rule, shape.label, start, end, score) if score > 0 else None

    def rest(self, own: _Own, start: int) -> Finding:
        # Not in the middle of a letter.
        while self.data[start : start + 1] and self.data[start] & 0xC0 == 0x80:
            start += 1
        begin = self._at(start)
        return Finding(own.rule, own.shape.label, begin, len(self.text), 1.0, "too many to tell apart")

    def _at(self, byte: int) -> int:
        """In one walk for ascending places."""
        if self._is_ascii:
            return byte
        if byte < self._byte:
            # A few steps back are fewer than from the beginning.
            self._character -= len(self.data[byte : self._byte].decode())
        else:
            self._character += len(self.data[self._byte : byte].decode())
        self._byte = byte
        return self._character


@lru_cache(maxsize=64)
def set_of(patterns: tuple[str, ...], *, is_anchored: bool = False) -> Any:
    """Of the same patterns the same one, for every policy and after every change: what it has learnt of texts stays.

    Raises `ValueError` where they are too large together.
    """
    made = re2.Set.MatchSet(_options(_SET_BYTES)) if is_anchored else re2.Set.SearchSet(_options(_SET_BYTES))
    for pattern in patterns:
        made.Add(pattern)
    try:
        made.Compile()
    except re2.error:
        raise ValueError("the patterns are too large together") from None
    return made


@lru_cache(maxsize=2_048)
def compiled(pattern: str) -> Any:
    return re2.compile(pattern, _options(_PATTERN_BYTES))


def _pattern(shape: Shape) -> str:
    pattern = f"(?i:{shape.pattern})" if shape.ignores_case else f"(?:{shape.pattern})"
    try:
        compiled(pattern)
    except re2.error as error:
        raise ValueError(f"{shape.label}: {error}") from None
    return pattern


def _guarded(own: _Own) -> tuple[str, str]:
    """What to know it is there by, and what to find it by: a word begins where no letter or digit stands before."""
    shape = own.shape
    has_group = compiled(own.pattern).groups > 0
    shortest = _OPEN_END.sub(r"{\1}", shape.pattern) if "|" not in shape.pattern else shape.pattern
    shortest = f"(?i:{shortest})" if shape.ignores_case else f"(?:{shortest})"
    if has_group or not shape.is_word:
        return shortest, own.pattern
    return _GUARD + shortest, f"{_GUARD}({own.pattern})"


def _stands_alone(text: str, start: int, end: int) -> bool:
    return not (start > 0 and _is_of_word(text[start - 1])) and not (end < len(text) and _is_of_word(text[end]))


def _is_of_word(letter: str) -> bool:
    """Scripts of the far east write without spaces: their letters stand beside a value, not in it."""
    return letter < _EASTERN and letter.isalnum()


def _options(most_bytes: int) -> re2.Options:
    options = re2.Options()
    options.max_mem = most_bytes
    options.log_errors = False
    return options
