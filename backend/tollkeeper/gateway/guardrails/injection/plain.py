"""Text made plain, as a model reads it and a pattern does not: one alphabet, one case, no signs between the letters.

Other readings of the same text (decoded, turned, respelled) come as layers, each with the place it was read from.
"""

import base64
import binascii
import codecs
import html
import re
import unicodedata
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import Final
from urllib.parse import unquote

import re2

from tollkeeper.gateway.folding import fold

_LOOK_ALIKE: Final = dict(
    zip(
        "аеорсухіјѕһԁԛԝьвнкмтгзԍӏαεοριυνκτχγηАЕОРСУХІЈЅВНКМТΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɑɡʟɪᴀᴇᴏɴʀᴛᴜ",
        "aeopcyxijshdqwbbhkmtr3glaeopiuvktxynAEOPCYXIJSBHKMTABEZHIKMNOPTYXiagliaeonrtu",
        strict=True,
    )
)
_LEET: Final = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i", "|": "i"}
)
_SPACED_LETTERS: Final = re.compile(r"(?<![^\W\d_])(?:[^\W\d_][ .\-_*+|/]{1,2}){4,}[^\W\d_](?![^\W\d_])")
_BETWEEN_LETTERS: Final = re.compile(r"[ .\-_*+|/]")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}")
_HEX: Final = re.compile(r"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[ ,:]?){12,}")
_BINARY: Final = re.compile(r"(?:[01]{8}\s?){8,}")
_PERCENT: Final = re.compile(r"(?:%[0-9a-fA-F]{2}|[A-Za-z.+_-]){8,}")
_ESCAPES: Final = re.compile(r"(?:\\u[0-9a-fA-F]{4}|&#x?[0-9a-fA-F]{2,6};){4,}")
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]{4,}")
_SPACES: Final = re.compile(r"[ \t\f\v\u3000]+")
_COMMON_WORDS: Final = re.compile(
    r"\b(?:the|and|you|your|all|instructions?|ignore|system|prompt|that|not|with|for|this|to|what|repeat|everything|previous|above|from|now)\b"
)


class _Hint(IntEnum):
    BASE64 = 0
    HEX = 1
    BINARY = 2
    PERCENT = 3
    ESCAPES = 4
    TAGS = 5
    LEETY = 6
    SPACED = 7
    COMMON = 8


_HINT_PATTERNS: Final = (
    r"[A-Za-z0-9+/_-]{20}",
    r"(?:[0-9a-fA-F]{2}[ ,:]?){12}|(?:0x[0-9a-fA-F]{2}[ ,:]?){4}|(?:\\x[0-9a-fA-F]{2}){4}",
    r"(?:[01]{8}\s?){8}",
    r"%[0-9a-fA-F]{2}",
    r"\\u[0-9a-fA-F]{4}|&#",
    r"[\x{E0020}-\x{E007E}]",
    r"[A-Za-z][0134578@$!|]+[A-Za-z]|[0134578@$!|]{1,2}[A-Za-z]{2}",
    r"(?:\pL[ .\-_*+|/]{1,2}){4}\pL(?:[^\pL]|$)",
    r"(?i)\b(?:the|and|you|your|all|instructions?|ignore|system|prompt|that|not|with|for|this|to)\b",
)


def _hints() -> re2.Set:
    options = re2.Options()
    options.log_errors = False
    found = re2.Set.SearchSet(options)
    for pattern in _HINT_PATTERNS:
        found.Add(pattern)
    found.Compile()
    return found


_HINTS: Final = _hints()
_MOST_LAYERS: Final = 24
_LONGEST_LAYER: Final = 20_000
_SHORT: Final = 80


@dataclass(frozen=True, slots=True)
class Layer:
    """`how` it was read; `start` and `end` are of the original text; `places` its offsets, None: all of that place."""

    text: str
    how: str
    start: int
    end: int
    places: "array[int] | None" = None


def layers(text: str) -> Iterator[Layer]:
    plain, places = _plain(text)
    yield Layer(plain, "", 0, len(text), places)
    # One pass says which other readings there may be at all: to look for each would cost more than all the rest.
    hints = frozenset(_HINTS.Match(text.encode("utf-8", "replace")) or ())
    for how, start, end, hidden in islice(_hidden(text, hints), _MOST_LAYERS):
        yield Layer(_plain(hidden[:_LONGEST_LAYER])[0], how, start, end)
    if _Hint.LEETY in hints:
        latin = plain.translate(_LEET)
        if latin != plain:
            yield Layer(latin, "leet", 0, len(text), places)
    if _Hint.SPACED in hints:
        joined = _SPACED_LETTERS.sub(_joined, plain)
        if joined != plain:
            yield Layer(joined, "spaced letters", 0, len(text))
    if _Hint.COMMON not in hints and len(plain) < _LONGEST_LAYER and plain.isascii():
        for how, turned in (("rot13", codecs.encode(plain, "rot13")), ("reversed", plain[::-1])):
            if len(_COMMON_WORDS.findall(turned)) >= (1 if len(plain) < _SHORT else 2):
                yield Layer(turned, how, 0, len(text))


def _joined(match: "re.Match[str]") -> str:
    """Words stand two spaces apart where letters stand one."""
    return " ".join(_BETWEEN_LETTERS.sub("", word) for word in match.group(0).split("  "))


def _plain(text: str) -> tuple[str, "array[int] | None"]:
    if text.isascii():
        return text.lower().replace("\t", " "), None
    folded, places = fold(text)
    is_disguised = _DISGUISE.search(folded.encode("utf-8", "replace")) is not None
    mixed = _latin_words(folded) if is_disguised else None
    if mixed is not None:
        pieces = [
            _LOOK_ALIKE[letter].lower() if mixed[index] and letter in _LOOK_ALIKE else _LETTERS[letter]
            for index, letter in enumerate(folded)
        ]
    else:
        pieces = [_LETTERS[letter] for letter in folded]
    plain = "".join(pieces)
    if len(plain) == len(folded) and all(map(len, pieces)):
        return plain, places
    kept = array("l")
    for index, piece in enumerate(pieces):
        kept.extend([places[index] if places is not None else index] * len(piece))
    return plain, kept


class _Letters(dict[str, str]):
    """Each letter without its case, width and marks; a mark alone is nothing."""

    def __missing__(self, letter: str) -> str:
        plain = "" if unicodedata.combining(letter) else unicodedata.normalize("NFKC", letter).lower()
        plain = " " if plain.isspace() and plain != "\n" else plain
        if not letter.isalpha() and len(plain) > 1:
            # An ellipsis, a fraction: that it is one sign says enough, and offsets stay what they are.
            plain = plain[0]
        if len(self) < 100_000:
            self[letter] = plain
        return plain


_LETTERS: Final = _Letters()
_DISGUISE: Final = re2.compile("[" + "".join(_LOOK_ALIKE) + "]")


def _latin_words(text: str) -> bytearray | None:
    """For each letter whether its word has a Latin one, or stands among Latin words: then foreign ones are in disguise."""
    ascii_letters = text.encode("ascii", "ignore").translate(None, _NO_LETTERS)
    is_latin = len(ascii_letters) > len(text) - len(text.encode("ascii", "ignore"))
    if not is_latin and _MIXED.search(text.encode("utf-8", "replace")) is None:
        return None
    flags = bytearray(len(text))
    for match in re.finditer(r"[^\W\d_]+", text):
        word = match.group(0)
        if is_latin or (not word.isascii() and _ASCII_LETTER.search(word) is not None):
            flags[match.start() : match.end()] = b"\1" * len(word)
    return flags


_NO_LETTERS: Final = bytes(code for code in range(128) if not chr(code).isalpha())
_ASCII_LETTER: Final = re.compile("[A-Za-z]")
_MIXED: Final = re2.compile(f"[A-Za-z]{_DISGUISE.pattern}|{_DISGUISE.pattern}[A-Za-z]")


def _hidden(text: str, hints: frozenset[int]) -> Iterator[tuple[str, int, int, str]]:
    for hint, read in _READERS:
        if hint in hints:
            yield from read(text)


def _read_tags(text: str) -> Iterator[tuple[str, int, int, str]]:
    for match in _TAGS.finditer(text):
        yield "invisible tags", *match.span(), "".join(chr(ord(letter) - 0xE0000) for letter in match.group(0))


def _read_escapes(text: str) -> Iterator[tuple[str, int, int, str]]:
    for match in _ESCAPES.finditer(text):
        decoded = html.unescape(re.sub(r"\\u([0-9a-fA-F]{4})", lambda one: chr(int(one.group(1), 16)), match.group(0)))
        yield "escapes", *match.span(), decoded


def _read_binary(text: str) -> Iterator[tuple[str, int, int, str]]:
    for match in _BINARY.finditer(text):
        bits = re.sub(r"\s", "", match.group(0))
        yield from _readable("binary", match, bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8)))


def _read_hex(text: str) -> Iterator[tuple[str, int, int, str]]:
    for match in _HEX.finditer(text):
        digits = re.sub(r"0x|\\x|[ ,:]", "", match.group(0))
        if len(digits) % 2 == 0:
            yield from _readable("hex", match, bytes.fromhex(digits))


def _read_base64(text: str) -> Iterator[tuple[str, int, int, str]]:
    for match in _BASE64.finditer(text):
        run = match.group(0).replace("-", "+").replace("_", "/").rstrip("=")
        try:
            data = base64.b64decode(run + "=" * (-len(run) % 4))
        except (binascii.Error, ValueError):
            continue
        yield from _readable("base64", match, data)


def _read_percent(text: str) -> Iterator[tuple[str, int, int, str]]:
    for match in _PERCENT.finditer(text):
        if match.group(0).count("%") >= 2:
            yield "percent-encoding", *match.span(), unquote(match.group(0))


def _readable(how: str, match: "re.Match[str]", data: bytes) -> Iterator[tuple[str, int, int, str]]:
    """Only what is text: keys, hashes and pictures decode as well."""
    decoded = data.decode("utf-8", "replace")
    good = sum(letter.isalpha() or letter.isspace() for letter in decoded)
    if len(decoded) >= 8 and good >= len(decoded) * 0.75 and "\ufffd" not in decoded:
        yield how, *match.span(), decoded


_READERS: Final = (
    (_Hint.TAGS, _read_tags),
    (_Hint.ESCAPES, _read_escapes),
    (_Hint.BINARY, _read_binary),
    (_Hint.HEX, _read_hex),
    (_Hint.BASE64, _read_base64),
    (_Hint.PERCENT, _read_percent),
)
