"""Writes a text that a JSON Schema `pattern` accepts, by walking the pattern; no regular expression is ever run.

Understands what schemas use: literals, classes, groups, alternatives and counts. Look-around and back-references are
refused.
"""

import string
from typing import Final

from tollkeeper.gateway.simulator.dice import Dice
from tollkeeper.gateway.simulator.unfit import UnfitSchema

_LETTERS: Final = string.ascii_lowercase
_ANY: Final = string.ascii_lowercase + string.digits
_PRINTABLE: Final = string.ascii_letters + string.digits + "_-. ,:;!?/+*=@#%&()[]{}<>'\"\\|~^$`"
_CLASSES: Final = {
    "d": string.digits,
    "w": _ANY + "_",
    "s": " ",
    "D": _LETTERS,
    "W": "-",
    "S": _ANY,
    "h": " ",
}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_LONGEST = 10_000
_DEEPEST = 50
# What `*` and `+` add to the least they allow.
_EXTRA = 3


class UnknownPattern(UnfitSchema):
    """A pattern, or a part of one, that this reader does not understand."""


def write_matching(pattern: str, dice: Dice) -> str:
    """Raises `UnknownPattern`."""
    reader = _Reader(pattern, dice)
    text = reader.alternatives(0)
    if not reader.is_at_end:
        raise UnknownPattern("unbalanced ')'")
    return text


class _Reader:
    """Reads every part and writes it at once. Parts that are not chosen are read all the same, and their text dropped."""

    def __init__(self, pattern: str, dice: Dice) -> None:
        self._pattern = pattern
        self._dice = dice
        self._at = 0
        self._written = 0

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._pattern)

    def alternatives(self, depth: int) -> str:
        if depth > _DEEPEST:
            raise UnknownPattern("nested too deeply")
        options = [self._sequence(depth)]
        while self._take("|"):
            options.append(self._sequence(depth))
        return options[self._dice.below(len(options))]

    def _sequence(self, depth: int) -> str:
        written: list[str] = []
        while not self.is_at_end and self._pattern[self._at] not in "|)":
            start = self._at
            text = self._atom(depth)
            least, most = self._count()
            after = self._at
            times = self._dice.between(least, most)
            if times == 0:
                continue
            written.append(text)
            for _ in range(times - 1):
                # Read again, so that each repetition rolls its own dice.
                self._at = start
                written.append(self._atom(depth))
            self._at = after
        return self._limited("".join(written))

    def _atom(self, depth: int) -> str:
        character = self._next()
        match character:
            case "(":
                self._open_group()
                text = self.alternatives(depth + 1)
                if not self._take(")"):
                    raise UnknownPattern("a group has no end")
                return text
            case "[":
                return self._pick(self._class())
            case "\\":
                return self._pick(self._escape())
            case ".":
                return self._pick(_ANY)
            case "^" | "$":
                return ""
            case "*" | "+" | "?":
                raise UnknownPattern("nothing to repeat")
        return self._limited(character)

    def _open_group(self) -> None:
        if not self._take("?"):
            return
        if self._take(":"):
            return
        self._take("P")
        if self._take("<") and self._peek() not in {"=", "!"}:
            while self._next() != ">":
                pass
            return
        raise UnknownPattern("look-around is not supported")

    def _class(self) -> str:
        negated = self._take("^")
        members: set[str] = set()
        first = True
        while first or not self._take("]"):
            first = False
            character = self._next()
            if character == "\\":
                escaped = self._escape()
                if len(escaped) > 1:
                    members.update(escaped)
                    continue
                character = escaped
            if self._peek() == "-" and self._peek(1) not in {"]", ""}:
                self._next()
                last = self._next()
                if last == "\\":
                    last = self._escape()
                if len(last) != 1 or not ord(character) <= ord(last) <= ord(character) + 0x2000:
                    raise UnknownPattern("a range of characters is out of order or too wide")
                members.update(chr(code) for code in range(ord(character), ord(last) + 1))
            else:
                members.add(character)
        if negated:
            members = set(_PRINTABLE) - members
        if not members:
            raise UnknownPattern("a class of characters is empty")
        # Sorted, because the order of a set of strings differs from process to process.
        return "".join(sorted(members))

    def _escape(self) -> str:
        character = self._next()
        if character in _CLASSES:
            return _CLASSES[character]
        if character in {"p", "P"}:
            return self._property(negated=character == "P")
        if character in {"u", "x"}:
            return self._code(4 if character == "u" else 2)
        if character in {"b", "B", "A", "Z", "z"}:
            return ""
        if character in _ESCAPES:
            return _ESCAPES[character]
        if character.isalnum():
            raise UnknownPattern(f"'\\{character}' is not supported")
        return character

    def _property(self, *, negated: bool) -> str:
        if not self._take("{"):
            raise UnknownPattern("'\\p' needs a name")
        name = ""
        while (character := self._next()) != "}":
            name += character
        known = {"Lu": string.ascii_uppercase, "Ll": _LETTERS, "L": string.ascii_letters, "N": string.digits}
        if negated or name not in known:
            raise UnknownPattern(f"'\\p{{{name}}}' is not supported")
        return known[name]

    def _code(self, digits: int) -> str:
        text = self._pattern[self._at : self._at + digits]
        self._at += digits
        try:
            return chr(int(text, 16))
        except ValueError as error:
            raise UnknownPattern("a character code is not hexadecimal") from error

    def _count(self) -> tuple[int, int]:
        least, most = 1, 1
        if self._take("*"):
            least, most = 0, _EXTRA
        elif self._take("+"):
            least, most = 1, 1 + _EXTRA
        elif self._take("?"):
            least, most = 0, 1
        elif self._peek() == "{" and (found := self._braces()) is not None:
            least, most = found
        else:
            return 1, 1
        # Lazy and possessive counts accept the same texts.
        if not self._take("?"):
            self._take("+")
        return least, most

    def _braces(self) -> tuple[int, int] | None:
        end = self._pattern.find("}", self._at)
        least, comma, most = self._pattern[self._at + 1 : max(end, 0)].partition(",")
        if end < 0 or not _is_number(least) or (most and not _is_number(most)):
            return None
        self._at = end + 1
        low = int(least)
        high = int(most) if most else low + (_EXTRA if comma else 0)
        if not low <= high or low > _LONGEST:
            raise UnknownPattern("a count is out of order or too large")
        return low, min(high, low + _EXTRA)

    def _pick(self, members: str) -> str:
        return self._limited(members[self._dice.below(len(members))]) if members else ""

    def _limited(self, text: str) -> str:
        self._written += len(text)
        if self._written > _LONGEST * _DEEPEST:
            raise UnknownPattern("the shortest text it accepts is too long")
        return text

    def _next(self) -> str:
        if self.is_at_end:
            raise UnknownPattern("it ends too early")
        self._at += 1
        return self._pattern[self._at - 1]

    def _peek(self, ahead: int = 0) -> str:
        return self._pattern[self._at + ahead : self._at + ahead + 1]

    def _take(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._at += 1
        return True


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6
