"""Texts within strings: JSON, files in base64, quoted letters; how they are read, and written back."""

import base64
import binascii
import codecs
import json
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson

# No document is read further down.
DEEPEST: Final = 200
_URL_SAFE: Final = str.maketrans("-_", "+/")
# What readers of base64 pass over.
_NO_BASE64: Final = re.compile(r"[^A-Za-z0-9+/]+")
# Enough of a file to tell a text from a picture, in whole groups of base64.
_FILE_HEAD: Final = 1024
# Of a text's bytes, at most one in so many is neither a letter nor a space. Letters in any encoding count as such.
_ODD: Final = 50
_LETTERLESS: Final = bytes({*range(32), 127} - {*b"\t\n\v\f\r\x1b"})


def parsed(text: str, deepest: int = DEEPEST) -> Any:
    """None: it is no JSON, or nests deeper than that. Of equal names, which parsers choose from differently, all values."""
    try:
        value = orjson.loads(text)
        if text.count("[") + text.count("{") > deepest and _depth(value) > deepest:
            return None
        if orjson.dumps(value) != text.encode("utf-8", "surrogatepass"):
            value = json.loads(text, object_pairs_hook=_together)
    except (ValueError, TypeError, RecursionError):
        return None
    return value


def _depth(value: Any) -> int:
    depth = 0
    level = [value]
    while level:
        depth += 1
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
            if isinstance(inner, dict | list)
        ]
    return depth


def _together(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for name in found:
            values = [value for other, value in pairs if other == name]
            found[name] = values if len(values) > 1 else values[0]
    return found


def file_text(body: str, *, is_declared: bool = False) -> str | None:
    """None: no text, and not declared as one. One that is no UTF-8 is read letter by letter all the same: whoever it is meant for may do so."""
    body = _NO_BASE64.sub("", body.translate(_URL_SAFE))
    try:
        head = _bytes_of(body[:_FILE_HEAD])
        encoding = _encoding(head) or ("utf-8" if is_declared else None)
        return None if encoding is None else _decoded(_bytes_of(body), encoding)
    except (binascii.Error, ValueError):
        return None


def _encoding(head: bytes) -> str | None:
    if head.startswith(b"%PDF-"):
        return None
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        codecs.getincrementaldecoder("utf-16")().decode(head)
        return "utf-16"
    if b"\0" in head:
        # Of most languages' letters one byte of two is nothing.
        for encoding, odd in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
            if odd.count(0) * 2 > len(odd) and head.count(0) == odd.count(0):
                return encoding
        return None
    odd_bytes = len(head) - len(head.translate(None, _LETTERLESS))
    return "utf-8" if odd_bytes * _ODD <= len(head) else None


def _decoded(raw: bytes, encoding: str) -> str:
    if encoding == "utf-8":
        try:
            return raw.decode()
        except ValueError:
            return raw.decode("latin-1")
    return raw.decode(encoding, "replace")


def _bytes_of(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def put(container: Any, key: Any, holder: list[str]) -> None:
    container[key] = holder[0]


def put_json(container: Any, key: Any, value: Any) -> None:
    container[key] = orjson.dumps(value).decode()


def put_base64(container: Any, key: Any, head: str, holder: list[str]) -> None:
    container[key] = head + base64.b64encode(holder[0].encode("utf-8", "replace")).decode()


def put_quoted(container: Any, key: Any, head: str, holder: list[str]) -> None:
    container[key] = head + quote(holder[0])


def rename(container: dict[str, Any], names: Sequence[str], now: Sequence[str]) -> None:
    renamed = dict(zip(names, now, strict=True))
    items = [(renamed.get(key, key), value) for key, value in container.items()]
    container.clear()
    container.update(items)
