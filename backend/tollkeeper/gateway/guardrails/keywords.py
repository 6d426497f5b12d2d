"""Words and phrases from lists: thousands of them in one pass, whole words only, whatever the case.

The text is compared folded (case, width, accents apart from their letters, look-alikes of other scripts), and read a second
time where signs stand between its letters: `Ｐｒｏｊｅｃｔ　X`, `Prоject-X` with a Cyrillic о and `P r o j e c t X` are
`project x`, and `STRASSE` is `Straße`.
"""

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import ahocorasick_rs
import re2
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tollkeeper.gateway.folding import fold
from tollkeeper.gateway.guardrail import Finding, Part
from tollkeeper.gateway.look_alikes import LOOK_ALIKES

_LONGEST = 128
_LONGEST_KEPT: Final = 4
_WORD: Final = re.compile(r"[^\W\d_]+")
_FOREIGN: Final = re.compile("[" + "".join(LOOK_ALIKES) + "]")
_LATIN: Final = re.compile("[a-z]")
# Signs within a word, or at the end of one that goes on: what stands before them is looked at apart, which is quicker.
_INNER: Final = re.compile(r"[-\u2010\u2011\u00b7'’.*_\x00-\x08\x0e-\x1b\x7f]+(?=[^\W_]|\Z)")
_BETWEEN: Final = re.compile(r"[\s\-_/.,:;*]{2,}|[\-_/]")
# Letters one by one; at the end of a text even a few.
_SPELT: Final = re.compile(r"(?<![^\W_])(?:[^\W_][ .\-_*·|/]{1,2}){2,}[^\W_](?![^\W_])")
_SPELT_END: Final = re.compile(r"(?<![^\W_])(?:[^\W_][ .\-_*·|/]{1,2})+[^\W_]?\Z")
# Whether there are any.
_IS_SPELT: Final = re2.compile(r"(?:^|[^\pL\pN])[\pL\pN](?:[ .\-_*·|/]{1,2}[\pL\pN]){2}")
# A letter and the marks upon it, each a character of its own.
_MARKED: Final = re.compile("[^\u0300-\u036f][\u0300-\u036f]+", re.DOTALL)
_MARKS: Final = re.compile("[\u0300-\u036f]+")
_SPACES: Final = dict.fromkeys((*range(9, 14), *range(28, 32)), " ")
_SIGNS: Final = re.compile(r"[ .\-_*·|/]+")


class KeywordSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    topics: dict[
        Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")],
        Annotated[tuple[Annotated[str, Field(min_length=2, max_length=_LONGEST)], ...], Field(max_length=10_000)],
    ] = Field(description="Lists of words and phrases by a name, which is the label of what is found.", max_length=50)
    whole_words: bool = Field(True, description="Not inside longer words; languages without spaces want this off.")

    @field_validator("topics")
    @classmethod
    def _few_enough(cls, topics: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if sum(map(len, topics.values())) > 10_000:
            raise ValueError("all lists together hold at most 10,000 terms")
        return topics


class Keywords:
    NAME: ClassVar[str] = "keywords"
    TITLE: ClassVar[str] = "Words and topics: lists of terms that may not be said"
    Settings: ClassVar[type[BaseModel]] = KeywordSettings
    WINDOW: ClassVar[int] = 1

    def __init__(self, settings: KeywordSettings) -> None:
        labels = {
            folded: label for label, terms in settings.topics.items() for term in terms if (folded := _fold(term))
        }
        self._terms = sorted(labels)
        self._labels = [labels[term] for term in self._terms]
        self._whole = settings.whole_words
        self._automaton = ahocorasick_rs.AhoCorasick(
            self._terms, matchkind=ahocorasick_rs.MatchKind.Standard, store_patterns=False
        )
        self._longest = max(map(len, self._terms), default=0)
        # As they begin when their marks are still to come.
        apart = (unicodedata.normalize("NFD", term) for term in self._terms)
        self._apart = sorted(term for term in apart if _MARKS.search(term) is not None)

    def check(self, part: Part) -> Sequence[Finding]:
        findings: dict[tuple[int, int], Finding] = {}
        for reading in _readings(part.text, at_end=False):
            folded = reading.text
            for index, start, end in self._automaton.find_matches_as_indexes(folded, overlapping=True):
                if self._whole and not _is_whole(folded, start, end):
                    continue
                first, last = reading.place(start), reading.place(end - 1)
                findings.setdefault((first, last), Finding(self.NAME, self._labels[index], first, last + 1))
        return list(findings.values())

    def held_from(self, text: str) -> int:
        """Where a term may have begun: from there the text is the beginning of one."""
        # Signs and invisible letters may stand between those of a term.
        begin = max(0, len(text) - 4 * self._longest)
        end = text[begin:]
        return begin + min(self._begun(reading, len(end)) for reading in _readings(end, at_end=True))

    def _begun(self, reading: "_Reading", length: int) -> int:
        folded = reading.text
        for start in range(max(0, len(folded) - self._longest), len(folded)):
            if self._whole and start and folded[start - 1].isalnum():
                continue
            rest = folded[start:]
            if _is_begun(self._terms, rest) or (
                self._apart and _is_begun(self._apart, unicodedata.normalize("NFD", rest))
            ):
                return reading.place(start)
        return length


@dataclass(frozen=True, slots=True)
class _Reading:
    """A text as it is compared. Behind each of `starts` its letters stood `shifts` further on in what was folded."""

    text: str
    places: "array[int] | None"
    starts: Sequence[int] = (0,)
    shifts: Sequence[int] = (0,)

    def place(self, offset: int) -> int:
        """In the text that there is."""
        folded = offset + self.shifts[bisect_right(self.starts, offset) - 1]
        return folded if self.places is None else self.places[folded]

    def without(self, spans: Iterable[tuple[int, int]], instead: str) -> "_Reading":
        pieces = []
        starts, shifts = [0], [0]
        at = length = 0
        for start, end in spans:
            pieces += [self.text[at:start], instead]
            length += start - at + len(instead)
            starts.append(length)
            shifts.append(end - length)
            at = end
        pieces.append(self.text[at:])
        return _Reading("".join(pieces), self.places, starts, shifts)


def _readings(text: str, *, at_end: bool) -> Iterator[_Reading]:
    """The text folded, and as it is read without the signs in it."""
    visible, places = fold(text)
    folded, moved = _fold_letters(visible)
    if moved is not None:
        places = moved if places is None else array("l", (places[place] for place in moved))
    plain = _Reading(folded, places)
    yield plain
    inner = [span for span in map(_span, _INNER.finditer(folded)) if span[0] and folded[span[0] - 1].isalnum()]
    if inner:
        yield plain.without(inner, "")
    between = list(map(_span, _BETWEEN.finditer(folded)))
    if between:
        yield plain.without(between, " ")
    if at_end or _IS_SPELT.search(folded.encode("utf-8", "surrogatepass")) is not None:
        spelt = (_SPELT_END if at_end else _SPELT).finditer(folded)
        signs = [span for match in spelt for span in map(_span, _SIGNS.finditer(folded, *match.span()))]
        if signs:
            yield plain.without(signs, "")


def _span(match: "re.Match[str]") -> tuple[int, int]:
    return match.span()


def _is_begun(terms: Sequence[str], rest: str) -> bool:
    place = bisect_left(terms, rest)
    return place < len(terms) and terms[place].startswith(rest)


def _fold(term: str) -> str:
    return " ".join(_fold_letters(term, is_term=True)[0].split())


def _fold_letters(text: str, *, is_term: bool = False) -> "tuple[str, array[int] | None]":
    """Folded, and where each letter of it stands in the text; None: where it did."""
    if text.isascii():
        return text.lower().translate(_SPACES), None
    letters: Sequence[str] = text
    if _MARKS.search(text) is not None:
        letters = _with_marks(text)
    pieces = [_LETTERS(letter) for letter in letters]
    folded = "".join(pieces)
    places = None
    if len(folded) != len(text) or len(letters) != len(text):
        places = array("l")
        at = 0
        for letter, piece in zip(letters, pieces, strict=True):
            places.extend([at] * len(piece))
            at += len(letter)
    if not is_term and _FOREIGN.search(folded) is not None:
        folded = _WORD.sub(_undisguised, folded)
    return folded, places


def _with_marks(text: str) -> list[str]:
    letters: list[str] = []
    at = 0
    for match in _MARKED.finditer(text):
        letters += text[at : match.start()]
        letters.append(match.group())
        at = match.end()
    letters += text[at:]
    return letters


def _undisguised(match: "re.Match[str]") -> str:
    """A word with Latin letters is a Latin word."""
    word = match.group()
    if word.isascii() or _LATIN.search(word) is None:
        return word
    return "".join(LOOK_ALIKES.get(letter, letter) for letter in word)


class _Letters(dict[str, str]):
    """One or more for each: `ß` is `ss`. Marks that make no letter of another one go."""

    def __missing__(self, letter: str) -> str:
        plain = unicodedata.normalize("NFKC", letter).casefold()
        folded = _MARKS.sub("", unicodedata.normalize("NFC", plain)) or letter
        folded = " " if folded.isspace() else folded
        if len(self) < 100_000 and len(letter) < _LONGEST_KEPT:
            self[letter] = folded
        return folded


_LETTERS = _Letters().__getitem__


def _is_whole(text: str, start: int, end: int) -> bool:
    return not (start and text[start - 1].isalnum() and text[start].isalnum()) and not (
        end < len(text) and text[end].isalnum() and text[end - 1].isalnum()
    )
