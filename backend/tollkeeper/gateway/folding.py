"""Undoes what hides a shape from a pattern: invisible characters, other scripts' digits, odd spaces and dashes.

Only what has one meaning is folded, character by character, so that offsets stay true.
"""

import re
import unicodedata
from array import array
from typing import Final

import re2

# Zero-width and formatting characters, and the tag block that repeats ASCII invisibly.
_INVISIBLE: Final = re2.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\U000e0000-\U000e007f]"
)
# RE2 tells offsets of bytes, and to turn thousands of them into characters takes long; a class alone is linear here as well.
_VISIBLE: Final = re.compile("[^" + _INVISIBLE.pattern[1:-1] + "]+")


def _table() -> dict[int, str]:
    table = dict.fromkeys((160, 5760, *range(8192, 8203), 8239, 8287, 12288), " ")
    table |= dict.fromkeys((8208, 8209, 8210, 8211, 8212, 8213, 8722, 65112, 65123), "-")
    for code in range(0xFF01, 0xFF5F):  # fullwidth forms of ASCII
        table[code] = chr(code - 0xFEE0)
    for code in range(0x660, 0x1E950):
        if chr(code).isdecimal() and code not in table:
            table[code] = str(unicodedata.decimal(chr(code)))
    for code in range(0x1D7CE, 0x1D800):  # mathematical digits
        table[code] = str((code - 0x1D7CE) % 10)
    return table


_FOLDED: Final = _table()
_FOLDABLE: Final = re2.compile("[" + "".join(map(chr, sorted(_FOLDED))) + "]|" + _INVISIBLE.pattern)


def fold(text: str) -> tuple[str, "array[int] | None"]:
    """The text to look at, and for each of its characters the offset in `text`; None: they are the same."""
    # Most texts have nothing of it: to look is ten times cheaper than to translate.
    if text.isascii() or _FOLDABLE.search(text.encode("utf-8", "surrogatepass")) is None:
        return text, None
    folded = text.translate(_FOLDED)
    if _INVISIBLE.search(folded) is None:
        return folded, None
    places = array("l")
    seen: list[str] = []
    for match in _VISIBLE.finditer(folded):
        seen.append(match.group())
        places.extend(range(*match.span()))
    return "".join(seen), places
