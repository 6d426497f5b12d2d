"""Words and phrases from lists: thousands of them in one pass, whole words only, whatever the case.

The text is compared folded (case, width, accents where the list has none), so `Ｐｒｏｊｅｃｔ　X` is `project x`.
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from typing import Annotated, ClassVar

import ahocorasick_rs
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tollkeeper.gateway.folding import fold
from tollkeeper.gateway.guardrail import Finding, Part

_LONGEST = 128


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

    def check(self, part: Part) -> Sequence[Finding]:
        text, places = fold(part.text)
        folded = _fold_in_place(text)
        findings = []
        for index, start, end in self._automaton.find_matches_as_indexes(folded, overlapping=True):
            if self._whole and not _is_whole(folded, start, end):
                continue
            first, last = (start, end - 1) if places is None else (places[start], places[end - 1])
            findings.append(Finding(self.NAME, self._labels[index], first, last + 1))
        return findings

    def held_from(self, text: str) -> int:
        """Where a term may have begun: from there the text is the beginning of one."""
        # Invisible letters may stand between those of a term.
        begin = max(0, len(text) - 2 * self._longest)
        visible, places = fold(text[begin:])
        folded = _fold_in_place(visible)
        for start in range(len(folded)):
            if self._whole and start and folded[start - 1].isalnum():
                continue
            rest = folded[start:]
            place = bisect_left(self._terms, rest)
            if place < len(self._terms) and self._terms[place].startswith(rest):
                return begin + (start if places is None else places[start])
        return len(text)


def _fold(term: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", term).casefold().split())


def _fold_in_place(text: str) -> str:
    """Folded letter by letter, so that offsets stay: what would become two letters keeps its own form."""
    if text.isascii():
        return text.lower().replace("\n", " ").replace("\t", " ")
    return "".join(_LETTERS(letter) for letter in text)


class _Letters(dict[str, str]):
    def __missing__(self, letter: str) -> str:
        folded = unicodedata.normalize("NFKC", letter).casefold()
        if len(folded) != 1:
            folded = letter.lower() if len(letter.lower()) == 1 else letter
        folded = " " if folded.isspace() else folded
        if len(self) < 100_000:
            self[letter] = folded
        return folded


_LETTERS = _Letters().__getitem__


def _is_whole(text: str, start: int, end: int) -> bool:
    return not (start and text[start - 1].isalnum() and text[start].isalnum()) and not (
        end < len(text) and text[end].isalnum() and text[end - 1].isalnum()
    )
