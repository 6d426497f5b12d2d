"""Texts within strings: JSON, files in base64, quoted letters; how they are read, and written back."""

import base64
import binascii
import codecs
import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson

_URL_SAFE: Final = str.maketrans("-_", "+/")
# Enough of a file to tell a text from a picture, in whole groups of base64.
_FILE_HEAD: Final = 1024


def parsed(text: str) -> Any:
    """None: it is no JSON. Of equal names, which parsers choose from differently, all values."""
    try:
        value = orjson.loads(text)
        if orjson.dumps(value) != text.encode("utf-8", "surrogatepass"):
            value = json.loads(text, object_pairs_hook=_together)
    except (ValueError, RecursionError):
        return None
    return value


def _together(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for name in found:
            values = [value for other, value in pairs if other == name]
            found[name] = values if len(values) > 1 else values[0]
    return found


def file_text(body: str) -> str | None:
    """None: no text."""
    body = body.translate(_URL_SAFE).replace("\r", "").replace("\n", "").rstrip("=")
    try:
        head = _bytes_of(body[:_FILE_HEAD])
        encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
        codecs.getincrementaldecoder(encoding)().decode(head)
        if encoding == "utf-8" and b"\0" in head:
            return None
        return _bytes_of(body).decode(encoding, "replace")
    except (binascii.Error, ValueError):
        return None


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
