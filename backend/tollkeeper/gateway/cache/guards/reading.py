"""What a question says, read once: what it asks, of what, in which order, and every detail that may decide its answer.

`reader.read` makes one of a text; the guards compare two. The order of the decisive words is `sequence`: content words
in the form that `lexicon` counts as one, with numbers, names, code and the small words that change an answer (not,
without, only, from) among them. Filler is gone from it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    language: str
    script: str
    is_too_long: bool = False
    is_deictic: bool = False
    """Whether it says today, now, latest: its answer ages by itself."""
    asks: tuple[str, ...] = ()
    sequence: tuple[str, ...] = ()
    governors: tuple[str, ...] = ()
    """The preposition that governs each of `sequence`, or nothing."""
    content: tuple[str, ...] = ()
    plurals: frozenset[str] = frozenset()
    pasts: frozenset[str] = frozenset()
    cases: frozenset[tuple[str, str]] = frozenset()
    """German nouns with their article, where it tells who does it to whom."""
    numbers: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    quotes: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    negations: int = 0
    relations: tuple[tuple[str, str], ...] = ()
    """Each with the word that follows it: `from Rome` is not `to Rome`."""
    quantifiers: tuple[str, ...] = ()
    superlatives: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()
    tenses: frozenset[str] = frozenset()
    modals: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    """Every word as written, small letters."""
