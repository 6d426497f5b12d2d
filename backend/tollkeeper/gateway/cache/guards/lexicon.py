"""What the words of a language do in a question: the lists of `words/` as one look-up by first word.

A list says of a word or phrase that it is filler, a preposition, a negator, a question and so on, and which words may
replace each other in any question. It says nothing else: a word on no list stands for itself, so a missing word costs
a hit and never a false one. The rules of the files are in the head of `words/en.txt`.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from importlib.resources import files
from itertools import product

LANGUAGES = ("en", "de", "fr", "es")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|%|[$€£¥]|°[a-z]?|&")
_CHOICE = re.compile(r"\(([^()]*)\)")
_ELIDED = re.compile(r"^(l|d|j|m|t|s|n|c|qu|jusqu|lorsqu|puisqu|quelqu|aujourd)'(.+)$")
_SHORTEST_STEM = 3
_SHORTEST_GERMAN = 4
_GERMAN_ENDINGS = ("en", "em", "es", "e", "n", "s")
_SPANISH_VOWELS = "aeiouáéíóú"
_Line = tuple[str, str, list[str]]
_GRAMMAR = frozenset({"form", "past", "silent_e", "opposite"})


@dataclass(frozen=True, slots=True)
class Sense:
    """What one word or phrase is: `kind` filler, weak, relation, quantifier, not, aux, modal, person, ask, same …"""

    kind: str
    label: str = ""
    mark: str = ""
    """What it says besides: a person (`1` in "how do I"), `past` ("didn't"), a modal ("can't")."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """Those that begin with one word."""

    lengths: tuple[int, ...]
    """The longest first."""
    senses: dict[tuple[str, ...], Sense]


@dataclass(frozen=True, slots=True)
class Lexicon:
    language: str
    senses: dict[str, Sense]
    """By single word, as it is written."""
    phrases: dict[str, Phrases]
    """By first word."""
    stems: dict[str, str]
    """What a stem is counted as: the first of the words that may replace each other."""
    forms: dict[str, str]
    past: dict[str, str]
    silent_e: frozenset[str]
    opposites: frozenset[tuple[str, str]]
    """Pairs of what `canonical` makes of two words."""

    def stem(self, word: str) -> str:
        return stem(word, self.language, self.forms, self.past, self.silent_e)

    def canonical(self, word: str) -> str:
        stemmed = self.stem(word)
        return self.stems.get(stemmed, stemmed)


def split(text: str, language: str) -> tuple[str, ...]:
    """Words as `reading` cuts them, so that a list may be written as one writes."""
    found: list[str] = []
    for word in _WORD.findall(text.casefold().replace("’", "'")):
        elided = _ELIDED.match(word) if language == "fr" else None
        found.extend(elided.groups() if elided else (word,))
    return tuple(found)


def stem(word: str, language: str, forms: dict[str, str], past: dict[str, str], silent_e: frozenset[str]) -> str:
    """The word without the endings that do not change what is asked; rather none than one too many."""
    if (known := forms.get(word) or past.get(word)) is not None:
        return known
    if language == "en":
        return _stem_english(word, silent_e)
    if len(word) <= _SHORTEST_STEM:
        return word
    if language == "de":
        fitting = (end for end in _GERMAN_ENDINGS if word.endswith(end) and len(word) - len(end) > _SHORTEST_GERMAN)
        return word.removesuffix(next(fitting, ""))
    if language == "es":
        return _stem_spanish(word)
    return word[:-1] if language == "fr" and word[-1] in "sx" else word


def _stem_spanish(word: str) -> str:
    if word.endswith("es") and word[-3] not in _SPANISH_VOWELS:
        return word[:-2]
    return word[:-1] if word.endswith("s") and word[-2] in _SPANISH_VOWELS else word


def _stem_english(word: str, silent_e: frozenset[str]) -> str:
    size = len(word)
    if word.endswith("ing") and size > 5:
        return _bare(word[:-3], silent_e)
    if word.endswith("ed") and size > 4:
        return word[:-3] + "y" if word.endswith("ied") and size > 5 else _bare(word[:-2], silent_e)
    if word.endswith("ies") and size > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    if word.endswith("s") and size > 3 and word[-2] not in "sui":
        return word[:-1]
    return word[:-2] + "y" if word.endswith("ie") and size > 4 else word


def _bare(stemmed: str, silent_e: frozenset[str]) -> str:
    """What stood before `-ing` or `-ed`: `chang` is change, `stopp` is stop."""
    if stemmed in silent_e:
        return stemmed + "e"
    if len(stemmed) > 3 and stemmed[-1] == stemmed[-2] and stemmed[-1] in "bdgmnprt":
        return stemmed[:-1]
    return stemmed


@cache
def load(language: str) -> Lexicon:
    """The lists of one language, read once."""
    lines = _lines(f"{language}.txt")
    lexicon = Lexicon(
        language,
        senses={},
        phrases={},
        stems={},
        forms=_pairs(lines, "form"),
        past=_pairs(lines, "past"),
        silent_e=frozenset(item for kind, _, items in lines if kind == "silent_e" for item in items),
        opposites=frozenset(),
    )
    phrases: dict[str, dict[tuple[str, ...], Sense]] = {}
    for kind, label, items in lines:
        if kind in _GRAMMAR:
            continue
        first = _as_one(items[0], language, lexicon) if kind == "same" else ""
        for text, mark in (spelling for item in items for spelling in _spellings(item)):
            words = split(text, language)
            if len(words) > 1:
                of_word = phrases.setdefault(words[0], {})
                of_word.setdefault(words, Sense(kind, first or label, mark))
            elif words and kind == "same":
                lexicon.stems[lexicon.stem(words[0])] = first
            elif words:
                lexicon.senses.setdefault(words[0], Sense(kind, label, mark))
    found = {
        word: Phrases(tuple(sorted({len(each) for each in those}, reverse=True)), those)
        for word, those in phrases.items()
    }
    return replace(lexicon, phrases=found, opposites=_opposites(lines, lexicon))


@cache
def unlisted(language: str) -> Lexicon:
    """A language without lists: every word stands for itself, and only equal ones are equal."""
    return Lexicon(language, {}, {}, {}, {}, {}, frozenset(), frozenset())


@cache
def units() -> dict[str, tuple[str, Fraction]]:
    """Every spelling of a unit, with what it measures and how many of that it is."""
    found: dict[str, tuple[str, Fraction]] = {}
    for kind, label, items in _lines("units.txt"):
        for item in items:
            found.setdefault(item, (kind, Fraction(label)))
    return found


def _pairs(lines: list[_Line], kind: str) -> dict[str, str]:
    items = (item.partition("=") for of, _, items in lines if of == kind for item in items)
    return {word: stands_for for word, _, stands_for in items}


def _opposites(lines: list[_Line], lexicon: Lexicon) -> frozenset[tuple[str, str]]:
    items = (item.partition("/") for of, _, items in lines if of == "opposite" for item in items)
    pairs = {(lexicon.canonical(one.strip()), lexicon.canonical(other.strip())) for one, _, other in items}
    return frozenset(pairs | {(other, one) for one, other in pairs})


def _as_one(item: str, language: str, lexicon: Lexicon) -> str:
    return " ".join(lexicon.stem(word) for word in split(item.partition("=")[0], language))


def _spellings(item: str) -> list[tuple[str, str]]:
    """`how (do|can) i=1` is two phrases with the mark `1`."""
    text, _, mark = item.partition("=")
    parts = _CHOICE.split(text)
    choices = [part.split("|") if number % 2 else [part] for number, part in enumerate(parts)]
    return [("".join(chosen), mark.strip()) for chosen in product(*choices)]


def _lines(name: str) -> list[_Line]:
    text = files(__package__).joinpath("words", name).read_text(encoding="utf-8")
    found = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        head, _, rest = line.partition(": ")
        kind, _, label = head.partition(" ")
        found.append((kind, label, [item.strip() for item in rest.split(",") if item.strip()]))
    return found
