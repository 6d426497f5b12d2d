"""Arguments of tools as their reader sees them: JSON's escapes undone letter by letter, so that offsets stay true."""

import re
from array import array
from typing import Final

_ESCAPE: Final = re.compile(
    r'\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(["\\/bfnrt]))'
)
# At the end of an unfinished text: the beginning of one, whose first half may be there already.
_BEGUN: Final = re.compile(
    r"(?:\\u[dD][89abAB][0-9a-fA-F]{2})?\\(?:u[0-9a-fA-F]{0,3})?$|\\u[dD][89abAB][0-9a-fA-F]{2}$"
)
_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# JSON within a string of JSON, and once more.
_DEEPEST: Final = 3
_LONGEST_BEGUN: Final = 12


def readings(text: str) -> list[tuple[str, "array[int]"]]:
    """What it says without escapes, of strings within strings as well; each letter with its place, and the end's."""
    found: list[tuple[str, array[int]]] = []
    places = array("l", range(len(text) + 1))
    for _ in range(_DEEPEST):
        if "\\" not in text:
            break
        plain, kept = _undo(text)
        if plain == text:
            break
        places = array("l", (places[place] for place in kept))
        text = plain
        found.append((text, places))
    return found


def begun(text: str) -> int:
    """Where in an unfinished text an escape begins that has no end yet; its length: nowhere."""
    match = _BEGUN.search(text, max(0, len(text) - _LONGEST_BEGUN))
    if match is None:
        return len(text)
    # Behind a backslash that is itself escaped nothing begins.
    before = match.start()
    while before and text[before - 1] == "\\":
        before -= 1
    return len(text) if (match.start() - before) % 2 else match.start()


def _undo(text: str) -> tuple[str, "array[int]"]:
    pieces: list[str] = []
    places = array("l")
    at = 0
    for match in _ESCAPE.finditer(text):
        start, end = match.span()
        pieces.append(text[at:start])
        places.extend(range(at, start))
        high, low, code, short = match.groups()
        if high is not None:
            letter = chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
        elif code is not None:
            # Half of a letter is none, and no pattern takes one.
            letter = "\ufffd" if code[:1] in "dD" and code[1:2] in "89abcdefABCDEF" else chr(int(code, 16))
        else:
            letter = _SHORT.get(short, short)
        pieces.append(letter)
        places.append(start)
        at = end
    pieces.append(text[at:])
    places.extend(range(at, len(text) + 1))
    return "".join(pieces), places
