"""The texts of bytes that are passed on: JSON, JSON by lines, events of a stream, or a text; and the bytes written again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Operation
from tollkeeper.contracts.guardrails import Direction
from tollkeeper.gateway.chunk_texts import texts_of
from tollkeeper.gateway.encoded_texts import parsed
from tollkeeper.gateway.guardrail import Part
from tollkeeper.gateway.texts import Nested, Text, read_texts

# What they hold is no text, and nobody looks into it.
_BINARY: Final = ("image/", "audio/", "video/", "font/", "application/pdf", "application/zip", "application/gzip")
_EVENT: Final = "data:"


def is_text(content_type: str) -> bool:
    return not content_type.strip().lower().startswith(_BINARY)


@dataclass(frozen=True, slots=True)
class PassedTexts:
    """A document to look at, and what makes bytes of it again."""

    document: dict[str, Any]
    write: Callable[[dict[str, Any]], bytes]


def read_passed(content: bytes, *, may_be_events: bool = False) -> PassedTexts:
    try:
        encoding, text = "utf-8", content.decode()
    except UnicodeDecodeError:
        # Each byte a letter: what is not changed stays as it is.
        encoding, text = "latin-1", content.decode("latin-1")
    value = parsed(text)
    if isinstance(value, dict | list):
        return PassedTexts({"body": value}, lambda document: orjson.dumps(document["body"]))
    lines = text.split("\n")
    events = [parsed(line.removeprefix(_EVENT)) if line.startswith(_EVENT) else None for line in lines]
    if may_be_events and any(event is not None for event in events):
        return _by_lines(lines, events, _EVENT + " ", encoding)
    documents = [parsed(line) if line[:1] in {"{", "["} else None for line in lines]
    if any(isinstance(document, dict | list) for document in documents):
        return _by_lines(lines, documents, "", encoding)
    return PassedTexts({"body": text}, lambda document: str(document["body"]).encode(encoding, "replace"))


def _by_lines(lines: list[str], values: list[Any], before: str, encoding: str) -> PassedTexts:
    """What is JSON as what it says, and all other lines as they are."""
    rest = [None if value is not None else line for line, value in zip(lines, values, strict=True)]

    def write(document: dict[str, Any]) -> bytes:
        written = []
        for line, value, was in zip(document["lines"], document["events"], values, strict=True):
            if was is None:
                written.append(str(line).encode(encoding, "replace"))
            else:
                written.append(before.encode() + orjson.dumps(value))
        return b"\n".join(written)

    return PassedTexts({"lines": rest, "events": values}, write)


def read_events(document: Any, direction: Direction, operation: Operation) -> Iterator[Text | Nested]:
    """Each text by itself, and as one what stands at the same place of event after event."""
    yield from read_texts(document, direction, operation)
    runs: dict[tuple[Any, ...], tuple[list[tuple[Any, Any, int]], Any]] = {}
    for event in document.get("events", ()):
        if isinstance(event, dict):
            for name, container, key, kind in texts_of(event):
                runs.setdefault(name, ([], kind))[0].append((container, key, len(container[key])))
    for pieces, kind in runs.values():
        if len(pieces) > 1:
            joined = "".join(container[key] for container, key, _ in pieces)
            yield Text(Part(joined, kind, "assistant", direction), tuple(pieces))
