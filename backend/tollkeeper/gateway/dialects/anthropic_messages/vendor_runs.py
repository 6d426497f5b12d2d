"""Runs of events that differ in one text alone, read together: nearly all of a long answer is such.

The shape is learned from an event that was read in full. What begins like it and goes on with one JSON string is like it;
everything else is left to be read in full.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

# Bounds what is looked at again when a run turns out to be none.
MOST_TOGETHER: Final = 64
_CLOSE: Final = b"}}"
# The field of each kind of change that holds its text.
_FIELDS: Final = {"text_delta": "text", "input_json_delta": "partial_json", "thinking_delta": "thinking"}


class Runs:
    """The shape of the latest change to a block: everything before its text."""

    __slots__ = ("_prefix", "index", "kind")

    def __init__(self) -> None:
        self._prefix: bytes | None = None
        self.kind = ""
        self.index = 0

    def learn(self, raw: bytes, kind: Any, index: int, delta: dict[str, Any]) -> None:
        field = _FIELDS.get(kind) if isinstance(kind, str) else None
        text = delta.get(field) if field is not None else None
        if not isinstance(text, str):
            return
        ending = orjson.dumps(text) + _CLOSE
        self._prefix = raw[: -len(ending)] if raw.endswith(ending) else None
        self.kind, self.index = kind, index

    def read(self, events: Sequence[bytes], at: int) -> tuple[str, int] | None:
        """The texts of the events from `at` on, joined, and how many they are; None where the next is not like the last."""
        prefix, event = self._prefix, events[at]
        if prefix is None or not event.startswith(prefix) or not event.endswith(_CLOSE) or b"\n" in event:
            return None
        length = len(prefix)
        try:
            if at + 1 == len(events):
                text = orjson.loads(event[length:-2])
                return (text, 1) if type(text) is str else None
            literals = [event[length:-2]]
            for event in events[at + 1 : at + MOST_TOGETHER]:
                if not event.startswith(prefix) or not event.endswith(_CLOSE) or b"\n" in event:
                    break
                literals.append(event[length:-2])
            texts = orjson.loads(b"[%b]" % b",".join(literals))
        except orjson.JSONDecodeError:
            return None
        # A text that ends early and is followed by more makes one too many.
        if len(texts) != len(literals) or set(map(type, texts)) != {str}:
            return None
        return "".join(texts), len(literals)
