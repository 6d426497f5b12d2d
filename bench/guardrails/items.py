"""One text of the corpus with what is in it, and JSON lines of them. Foreign files need `text` alone; the rest is optional."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

HELD_OUT: Final = "held_out"
HELD_OUT_USUAL: Final = "held_out_usual"
TUNED: Final = "tuned"
_MOST_TEXT: Final = 5_000_000


class BadLine(ValueError):
    """A line of a file is no item; says which and why."""


@dataclass(frozen=True, slots=True)
class Span:
    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Item:
    """`labels` without a span hold for the whole text. `family` is what the text is, `split` whether rules were tuned on it.

    `place` is where a call would carry it: `text`, `document` or `tool_result`.
    """

    text: str
    labels: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    family: str = "unnamed"
    split: str = TUNED
    place: str = "text"

    def line(self) -> bytes:
        spans = [{"start": span.start, "end": span.end, "label": span.label} for span in self.spans]
        return orjson.dumps(
            {
                "text": self.text,
                "labels": list(self.labels),
                "spans": spans,
                "family": self.family,
                "split": self.split,
                "place": self.place,
            }
        )


def write_items(path: Path, items: Iterable[Item]) -> None:
    with path.open("wb") as file:
        for item in items:
            file.write(item.line() + b"\n")


def read_items(path: Path) -> Iterator[Item]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield _item(orjson.loads(line), path.stem)
                except ValueError as error:
                    raise BadLine(f"{path}, line {number}: {error}") from None


def _item(data: Any, family: str) -> Item:
    if not isinstance(data, dict):
        raise ValueError("is no object")
    text = data.get("text")
    if not isinstance(text, str) or len(text) > _MOST_TEXT:
        raise ValueError("'text' has to be a string of five million characters at most")
    labels = data.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError("'labels' has to be a list of strings")
    spans = data.get("spans", [])
    if not isinstance(spans, list):
        raise ValueError("'spans' has to be a list")
    named = {key: data.get(key, default) for key, default in (("family", family), ("split", TUNED), ("place", "text"))}
    for key, value in named.items():
        if not isinstance(value, str):
            raise ValueError(f"'{key}' has to be a string")
    if named["place"] not in {"text", "document", "tool_result"}:
        raise ValueError("'place' is one of text, document, tool_result")
    return Item(text, tuple(labels), tuple(_span(span, len(text)) for span in spans), **named)


def _span(data: Any, length: int) -> Span:
    if not isinstance(data, dict):
        raise ValueError("a span has to be an object")
    start, end, label = data.get("start"), data.get("end"), data.get("label")
    if not (type(start) is int and type(end) is int and 0 <= start < end <= length):
        raise ValueError("a span needs 'start' and 'end' within the text")
    if not isinstance(label, str):
        raise ValueError("a span needs a 'label'")
    return Span(start, end, label)
