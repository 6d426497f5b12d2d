"""Where, in an unfinished text, a match may have begun that what follows completes. That much of an answer waits.

Each takes the end of the text and says at which offset of it; its length: nowhere. They err to the side of waiting.
"""

import re
from collections.abc import Callable
from typing import Final

import re2

Tail = Callable[[str], int]

_DIGIT_RUN: Final = "0123456789 ().-/+"
_DIGIT: Final = re.compile(r"[0-9]")
# Bank accounts, passports, plates: groups of capitals and digits.
_GROUPS: Final = re2.compile(r"(?:[A-Z0-9]|[a-z]{2}[0-9])[A-Za-z0-9]*(?:[ -][A-Z0-9][A-Za-z0-9]*)*[ -]?$")
_STREETS: Final = re2.compile(
    r"(?:[0-9]+[A-Za-z]?(?: (?:bis|ter))?,? [\p{L}0-9 ,.'’#\-]*|[0-9]+[A-Za-z]?,?|[\p{Lu}][\p{L}'’.\-]*(?: [\p{Lu}][\p{L}'’.\-]*)*,? ?[0-9]*[a-z]?(?:, ?[0-9]*(?: \p{L}*)?)?"
    r"|(?:Calle|C/|Avenida|Avda|Av|Plaza|Paseo|Via|Viale|Piazza|Rua|Corso)[\p{L}0-9 ,.'’º°]*)$"
)
# Without a number, a capital or a word for a street there is none.
_STREETLESS: Final = re.compile(r"[0-9A-ZÀ-Ý]")
_DATE: Final = re2.compile(
    r"(?:[0-9]+[\p{L}.]*|(?i:jan|feb|f[eé]v|m[aäe]r|apr|abr|avr|ma[iy]|jui?[nl]|aug|ago|ao[uû]|sep|o[ck]t|nov|de[czé]|ene)\p{L}*\.?)"
    r"(?:,? ?(?:of |de )?[\p{L}0-9.]*)?(?:,? ?(?:de )?[0-9]{0,4})?$"
)


def nothing(text: str) -> int:
    return len(text)


def word(text: str) -> int:
    """The last run without a space."""
    last = text[-1:]
    if not last or last.isspace():
        return len(text)
    return len(text) - len(text.rsplit(None, 1)[-1])


def line(text: str) -> int:
    return text.rfind("\n") + 1


def digits(text: str) -> int:
    """The last run of digits and of what stands between them."""
    last = text[-1:]
    if last not in _DIGIT_RUN:
        return len(text)
    begin = max(0, len(text) - 40)
    run = text[begin:] if begin else text
    rest = len(run.rstrip(_DIGIT_RUN))
    first = _DIGIT.search(run, rest)
    if first is None:
        # A sign or a bracket may open a number.
        return len(text) - 1 if last in {"+", "("} else len(text)
    return begin + rest + (len(run) - rest - len(run[rest:].lstrip(" .-/")))


def groups(text: str) -> int:
    # Prose mostly ends in lower case, and to look at one letter is cheaper than to look for a group.
    last = text[-1:]
    before = text[text.rfind(" ", 0, -1) + 1 : -1] if last == " " else text[word(text) :]
    # No digit in it, and no capital before it.
    if not before or (before.isalpha() and not before[0].isupper()):
        return len(text)
    if not (before[0].isupper() or any(map(str.isdigit, before))):
        return len(text)
    return _search(_GROUPS, text, 48)


def street(text: str) -> int:
    if _STREETLESS.search(text, max(0, len(text) - 96)) is None:
        return len(text)
    return _search(_STREETS, text, 96)


def date(text: str) -> int:
    return _search(_DATE, text, 36)


def _search(pattern: "re2._Regexp", text: str, reach: int) -> int:
    begin = max(0, len(text) - reach)
    match = pattern.search(text[begin:])
    return len(text) if match is None else begin + match.start()
