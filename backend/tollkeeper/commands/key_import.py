"""Reads keys of another gateway from a file: JSON Lines, or CSV with a header line.

A row holds `sha256` (64 hexadecimal digits) or the token itself as `key`; a token is hashed here and never sent. In CSV
a list is separated by spaces or semicolons, and a tag is written `name=value`.
"""

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tollkeeper.commands.output import fail

LARGEST_PART: Final = 1000
_LISTS: Final = frozenset(
    {
        "scopes",
        "allowed_models_override",
        "allowed_providers_override",
        "allowed_endpoints",
        "allowed_addresses",
        "allowed_origins",
    }
)
_NUMBERS: Final = frozenset({"rate_limit_override"})
_SHOWN_LAST: Final = 4


def read_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Each row with the name of its place (`line 3`). Ends the command for a file that cannot be read."""
    try:
        # utf-8-sig: spreadsheets begin their files with a mark.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        fail(f"cannot read {path} ({reason}).", code=2)
    rows = list(_read_csv(text) if path.suffix.lower() == ".csv" else _read_lines(text))
    if not rows:
        fail(f"{path} holds no keys.", code=2)
    return [(place, _hashed(place, row)) for place, row in rows]


def _read_lines(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            fail(f"line {number} is not JSON.", code=2)
        if not isinstance(row, dict):
            fail(f"line {number} is not a JSON object.", code=2)
        yield f"line {number}", row


def _read_csv(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines(), strict=True)
    try:
        for cells in reader:
            place = f"line {reader.line_num}"
            if None in cells or None in cells.values():
                fail(f"{place} has not as many cells as the header.", code=2)
            yield place, {name: _cell(place, name, value) for name, value in cells.items() if value.strip()}
    except csv.Error as error:
        fail(f"line {reader.line_num} is not CSV ({error}).", code=2)


def _cell(place: str, name: str, value: str) -> Any:
    value = value.strip()
    if name in _LISTS:
        return value.replace(";", " ").split()
    if name in _NUMBERS:
        if not value.isdecimal():
            fail(f"{place}: {name} is not a number.", code=2)
        return int(value)
    if name == "tags":
        pairs = [pair.partition("=") for pair in value.split(";") if pair.strip()]
        return {tag.strip(): content.strip() for tag, _, content in pairs}
    return value


def _hashed(place: str, row: dict[str, Any]) -> dict[str, Any]:
    token = row.pop("key", None)
    if token is None:
        return row
    if not isinstance(token, str) or "sha256" in row:
        fail(f"{place}: give either the token as key, or its sha256.", code=2)
    row["sha256"] = hashlib.sha256(token.encode()).hexdigest()
    row.setdefault("last_four", token[-_SHOWN_LAST:])
    return row
