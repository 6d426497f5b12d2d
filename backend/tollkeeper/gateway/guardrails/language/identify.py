"""The language of a text. Small and deterministic: it says `unknown` rather than guess."""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Final

from tollkeeper.gateway.guardrails.language.words import LETTERS, WORDS

UNKNOWN: Final = "unknown"
# Scripts that one language writes, or nearly so.
_BY_SCRIPT: Final[Mapping[str, str]] = {
    "GREEK": "el",
    "HEBREW": "he",
    "THAI": "th",
    "DEVANAGARI": "hi",
    "HANGUL": "ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "zh",
    "BENGALI": "bn",
    "TAMIL": "ta",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
}
_OF_SCRIPTS: Final[Mapping[str, tuple[str, ...]]] = {
    "LATIN": tuple(name for name in WORDS if name not in {"ru", "uk", "bg", "ar", "fa"}),
    "CYRILLIC": ("ru", "uk", "bg"),
    "ARABIC": ("ar", "fa"),
}
LANGUAGES: Final = tuple(sorted({*WORDS, *_BY_SCRIPT.values()}))
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
# So much of a text is looked at.
_MOST_WORDS: Final = 400
# Of a text's letters, that its script has to have.
_SCRIPT_SHARE: Final = 0.6
# Japanese is mostly Chinese signs, with some of its own.
_KANA_SHARE: Final = 0.08
# Of words, that are among the commonest.
_LEAST_SHARE: Final = 0.12
_LEAST_HITS: Final = 2
# The best has so much more than the second.
_LEAD: Final = 1.25


def identify(text: str, least_letters: int) -> str:
    words = [match.group().casefold() for match in islice(_WORD.finditer(text), _MOST_WORDS)]
    counts: dict[str, int] = {}
    for word in words:
        for letter in word:
            script = _script(letter)
            counts[script] = counts.get(script, 0) + 1
    letters = sum(counts.values())
    # A sign of these scripts says as much as a word's half.
    weight = letters + 2 * sum(counts.get(script, 0) for script in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL"))
    if weight < least_letters:
        return UNKNOWN
    kana = counts.get("HIRAGANA", 0) + counts.get("KATAKANA", 0)
    if kana and kana + counts.get("CJK", 0) >= letters * _SCRIPT_SHARE and kana >= letters * _KANA_SHARE:
        return "ja"
    script, count = max(counts.items(), key=lambda item: item[1])
    if count < letters * _SCRIPT_SHARE:
        return UNKNOWN
    return _BY_SCRIPT.get(script) or _by_words(words, _OF_SCRIPTS.get(script, ()))


def _by_words(words: list[str], candidates: tuple[str, ...]) -> str:
    scores: dict[str, float] = {}
    present = set("".join(words))
    for name in candidates:
        hits = sum(word in WORDS[name] for word in words)
        own = len(present & LETTERS.get(name, frozenset()))
        if hits or own:
            scores[name] = hits + own * max(1.0, len(words) * 0.08)
    ranked = sorted(scores, key=lambda name: (-scores[name], name))
    if not ranked:
        return UNKNOWN
    best = scores[ranked[0]]
    if best < _LEAST_HITS or best < len(words) * _LEAST_SHARE:
        return UNKNOWN
    second = scores[ranked[1]] if len(ranked) > 1 else 0.0
    return ranked[0] if best >= second * _LEAD else UNKNOWN


@lru_cache(maxsize=8_192)
def _script(letter: str) -> str:
    return unicodedata.name(letter, "NONE").partition(" ")[0].removesuffix("-")
