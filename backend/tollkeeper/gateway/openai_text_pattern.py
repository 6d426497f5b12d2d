"""Reads the events of a stream that differ from one before them in their text alone, without parsing their JSON again.

Nearly every event of an answer is `head + text + tail` with the same head and tail. When the bytes between the two are
plain characters of a JSON string, the event is the known one with another text, whatever else its JSON says. Events that
arrive together and follow one another become one chunk: its `data` has all of their text, its `raw` each of them as it
came.
"""

from collections.abc import Sequence
from typing import Any, Final

from tollkeeper.contracts.chat import Chunk

_BETWEEN: Final = b"\n\ndata: "
_KEY: Final = b'"content":'


class TextPattern:
    """`read` gives the chunk of an event of this pattern; None says nothing about any other."""

    __slots__ = ("_choice", "_data", "_head", "_least", "_tail", "_tail_length")

    def __init__(self, head: bytes, tail: bytes, data: dict[str, Any], choice: dict[str, Any]) -> None:
        self._head = head
        self._tail = tail
        self._tail_length = len(tail)
        self._least = len(head) + len(tail)
        self._data = data
        self._choice = choice

    def read(self, raw: bytes) -> Chunk | None:
        if len(raw) <= self._least or not raw.startswith(self._head) or not raw.endswith(self._tail):
            return None
        return self._chunk((raw[len(self._head) : -self._tail_length],), raw)

    def read_run(self, events: Sequence[bytes]) -> tuple[Chunk, int] | None:
        """The chunk of as many events from the first on as are of this pattern, and their number."""
        head, tail, least = self._head, self._tail, self._least
        begin, end = len(head), -self._tail_length
        contents: list[bytes] = []
        for event in events:
            if len(event) <= least or not event.startswith(head) or not event.endswith(tail):
                break
            content = event[begin:end]
            if contents and (b'"' in content or b"\\" in content):
                break
            contents.append(content)
        count = len(contents)
        if count > 1:
            chunk = self._chunk(contents, _BETWEEN.join(events[:count]))
            if chunk is not None:
                return chunk, count
        # The first is not plain, or one has a character that needs a closer look: the first alone, if it is.
        chunk = self.read(events[0]) if count else None
        return None if chunk is None else (chunk, 1)

    def _chunk(self, contents: Sequence[bytes], raw: bytes) -> Chunk | None:
        joined = b"".join(contents)
        # A quote would end the string, an escape stands for something else: both are the parser's to read.
        if b'"' in joined or b"\\" in joined:
            return None
        try:
            # One by one: no character reaches from one event into the next.
            text = "".join([content.decode() for content in contents])
        except UnicodeDecodeError:
            return None
        # JSON allows no control character in a string.
        if not text.isprintable():
            return None
        data = {**self._data, "choices": [{**self._choice, "delta": {"content": text}}]}
        return Chunk(data, raw, True, text_length=len(text))


def learn_pattern(data: dict[str, Any], raw: bytes) -> TextPattern | None:
    """The pattern of an event that is right as it came: one choice that goes on, whose delta is a text and no more."""
    choices = data["choices"]
    choice = choices[0]
    delta = choice["delta"]
    text = delta.get("content")
    if len(choices) != 1 or len(delta) != 1 or not text or not isinstance(text, str):
        return None
    if choice["finish_reason"] is not None or raw.count(_KEY) != 1:
        return None
    start = raw.index(_KEY) + len(_KEY)
    start = raw.find(b'"', start) + 1
    content = text.encode("utf-8", "surrogatepass")
    tail = raw[start + len(content) :]
    # Escaped text is longer in the event than it is; a pattern is learned from plain text only.
    if raw[start : start + len(content)] != content or not tail.startswith(b'"') or not text.isprintable():
        return None
    return TextPattern(raw[:start], tail, data, choice)
