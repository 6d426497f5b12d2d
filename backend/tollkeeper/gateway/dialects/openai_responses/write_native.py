"""A vendor's own events handed on to a caller of the same dialect, with our id in place of the vendor's.

Only events that carry a response or begin and end an item are looked into; all others leave as they came.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from tollkeeper.contracts.responses import Turn
from tollkeeper.core.ids import format_id
from tollkeeper.gateway.dialects.openai_responses.write_response import begin_response

_RESPONSE: Final = b'"response":'
_ITEM: Final = b"event: response.output_item."
_NUMBER: Final = b'"sequence_number":'
_OF_USAGE: Final[Mapping[str, Mapping[str, int]]] = {
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}
_ENDS: Final = frozenset({"response.completed", "response.incomplete"})


def ours(response: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    """A vendor's Response object as this gateway's: its id is ours, and so is what is kept of it. What strict readers
    need and the vendor leaves out is put in.
    """
    model = response.get("model")
    told = {
        **begin_response(turn, model if isinstance(model, str) else ""),
        **response,
        "id": format_id("resp", turn.response_id),
        "previous_response_id": turn.document.get("previous_response_id"),
        "store": turn.is_stored,
    }
    usage = response.get("usage")
    if isinstance(usage, dict):
        told["usage"] = {**usage, **{name: _filled(usage.get(name), needed) for name, needed in _OF_USAGE.items()}}
    return told


def _filled(details: object, needed: Mapping[str, int]) -> dict[str, Any]:
    return {**needed, **details} if isinstance(details, dict) else dict(needed)


class Relay:
    """Of one stream. `begun`: the response as it was last told; `response`: as it ended."""

    __slots__ = ("_done", "_items", "_last", "_texts", "_turn", "begun", "response")

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self.begun: Mapping[str, Any] | None = None
        self.response: Mapping[str, Any] | None = None
        self._items: dict[int, dict[str, Any]] = {}
        self._done: set[int] = set()
        # Of the message that is being written, for an answer that is cut.
        self._texts: list[str] = []
        self._last = b""

    def read(self, frames: bytes, data: Mapping[str, Any]) -> bytes:
        """`data`: what the frames amount to in the canonical form."""
        self._last = frames
        for choice in data.get("choices") or ():
            text = (choice.get("delta") or {}).get("content")
            if isinstance(text, str) and text:
                self._texts.append(text)
        if _RESPONSE not in frames and _ITEM not in frames:
            return frames
        return b"".join([self._frame(frame) for frame in frames.split(b"\n\n") if frame])

    @property
    def next_number(self) -> int:
        """After the last event that was handed on."""
        _, found, rest = self._last.rpartition(_NUMBER)
        digits = rest.lstrip()[:12]
        end = next((at for at, digit in enumerate(digits) if not 0x30 <= digit <= 0x39), len(digits))
        return int(digits[:end]) + 1 if found and end else 0

    def output(self) -> list[dict[str, Any]]:
        """The items of an answer that the vendor did not end: the last may be a message in the middle of its text."""
        output = []
        for index in sorted(self._items):
            item = self._items[index]
            if index not in self._done:
                item = {**item, "status": "incomplete"}
                if item.get("type") == "message" and self._texts:
                    part = {"type": "output_text", "text": "".join(self._texts), "annotations": [], "logprobs": []}
                    item["content"] = [part]
            output.append(item)
        return output

    def _frame(self, frame: bytes) -> bytes:
        head, _, raw = frame.partition(b"\ndata: ")
        if _RESPONSE not in frame and not head.startswith(_ITEM):
            return frame + b"\n\n"
        data = orjson.loads(raw)
        kind, response = data.get("type"), data.get("response")
        if isinstance(response, dict):
            data["response"] = self.begun = ours(response, self._turn)
            if kind in _ENDS:
                self.response = self.begun
            return b"%b\ndata: %b\n\n" % (head, orjson.dumps(data))
        item, index = data.get("item"), data.get("output_index")
        if isinstance(item, dict) and isinstance(index, int):
            self._items[index] = item
            if kind == "response.output_item.done":
                self._done.add(index)
                self._texts.clear()
        return frame + b"\n\n"
