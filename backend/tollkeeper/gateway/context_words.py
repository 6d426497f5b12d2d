"""What stands before a value says what it is: `IBAN:`, `order no.`, `bornOn`. Looked up in the few characters before.

A word counts from its beginning, so that "refund" is no "ref" and "testing" no "tin"; one of four letters or fewer counts
whole, unless it is given as a stem (`tel*`). Scripts that write without spaces have no such borders. Names in code are
read as words: `tax_id`, `tax-id` and `taxId` are "tax id".
"""

import re
from typing import Final

# Far enough for "my social security number, which I got in 1999, is".
REACH: Final = 60
_SHORT: Final = 4
# Latin, Greek and Cyrillic put spaces between words.
_SPACED_SCRIPTS: Final = "\u0530"
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_JOINED: Final = str.maketrans("_-", "  ")


class Words:
    """`Words("iban", "tel*")`: whether one of them stands before a value. `gate` is RE2's pattern for a text that has one."""

    __slots__ = ("_pattern", "gate")

    def __init__(self, *words: str) -> None:
        ordered = sorted(dict.fromkeys(word.translate(_JOINED) for word in words))
        kinds = {kind: [_escaped(word) for word in ordered if _kind(word) == kind] for kind in _KINDS}
        self._pattern = re.compile("|".join(_KINDS[kind] % "|".join(found) for kind, found in kinds.items() if found))
        bare = (re.escape(word.rstrip("*")).replace(r"\ ", "[ _-]?") for word in ordered)
        self.gate = f"(?i)(?:{'|'.join(bare)})"

    def are_in(self, said: str) -> bool:
        """`said`: as `before` gives it."""
        return self._pattern.search(said) is not None

    def stand_before(self, text: str, start: int, reach: int = REACH) -> bool:
        return self._pattern.search(before(text, start, reach)) is not None


def before(text: str, start: int, reach: int = REACH) -> str:
    """As words of lower case."""
    return _HUMP.sub(" ", text[max(0, start - reach) : start]).lower().translate(_JOINED)


# By which borders a word has; each is looked up once for all words of its kind.
_LETTER: Final = r"[^\W\d_\u2e80-\U0010ffff]"
_KINDS: Final = {
    "whole": f"(?<!{_LETTER})(?:%s)(?!{_LETTER})",
    "stem": f"(?<!{_LETTER})(?:%s)",
    "free": "(?:%s)",
}


def _kind(word: str) -> str:
    bare = word.rstrip("*")
    if not bare[0].isalpha() or bare[0] >= _SPACED_SCRIPTS:
        return "free"
    return "whole" if bare.isalpha() and len(bare) <= _SHORT and bare == word else "stem"


def _escaped(word: str) -> str:
    return re.escape(word.rstrip("*")).replace(r"\ ", " ?")
