"""What callers got, as text that a reviewer can read: one file for each vendor, dialect and mode, one section a case.

`TOLLKEEPER_WRITE_GOLDEN=1` writes the files instead of comparing; read the diff before you commit it.
"""

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import httpx

from tests.providers.callers import CASES

WRITES = os.environ.get("TOLLKEEPER_WRITE_GOLDEN") == "1"
_SHOWN = ("content-type", "retry-after", "x-should-retry", "x-tollkeeper-dropped")
_SECTION = re.compile(r"^=== (\w+)\n", re.MULTILINE)
# What differs from run to run: ids made by us (long, hexadecimal or of a UUID) and the time.
_MADE = re.compile(r"\b((?:[a-z]+[-_])+)[0-9a-zA-Z]{20,}\b|\b[0-9a-f]{24,}\b")
# Signatures of other vendors in Anthropic's blocks, see `dialects/anthropic_messages/envelope.py`.
_ENVELOPE = re.compile(r"\btk1\.([0-9a-zA-Z_-]+=*)")
_NOW = re.compile(r'"(created|created_at|completed_at)": ?(1[89]\d{8}|17[7-9]\d{7})(\.\d+)?')


def show(answer: httpx.Response) -> str:
    """Status, telling headers and body; what differs from run to run is numbered."""
    lines = [str(answer.status_code)]
    lines += [f"{name}: {answer.headers[name]}" for name in _SHOWN if name in answer.headers]
    body = answer.text
    if answer.headers.get("content-type", "").startswith("application/json"):
        body = json.dumps(answer.json(), indent=2, ensure_ascii=False)
    return _steady("\n".join(lines) + "\n\n" + body.replace("\r", "␍")).rstrip("\n")


def _steady(text: str) -> str:
    text = _ENVELOPE.sub(lambda found: "tk1." + _unpacked(found[1]), text)
    seen: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return seen.setdefault(found[0], f"{found[1] or ''}<{len(seen) + 1}>")

    return _NOW.sub(r'"\1": "<now>"', _MADE.sub(number, text))


def _unpacked(packed: str) -> str:
    return base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode().replace('"', "'")


def compare(path: Path, case: str, shown: str) -> None:
    sections = _read(path)
    if WRITES:
        path.parent.mkdir(parents=True, exist_ok=True)
        sections[case] = shown
        ordered = sorted(sections.items(), key=lambda section: CASES.index(section[0]))
        path.write_text("\n\n".join(f"=== {name}\n{text}" for name, text in ordered) + "\n")
    else:
        assert shown == sections.get(case), f"another answer than {path.name} has; TOLLKEEPER_WRITE_GOLDEN=1 writes it"


def compare_document(path: Path, document: Any) -> None:
    if WRITES:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        assert path.exists(), f"nothing is recorded as {path.name}"
        assert document == json.loads(path.read_text())


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    _, *parts = _SECTION.split(path.read_text())
    return {name: text.rstrip("\n") for name, text in zip(parts[::2], parts[1::2], strict=True)}
