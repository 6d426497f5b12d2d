"""The events of a vendor's Responses stream as canonical chunks, with the vendor's own events beside them.

A caller who speaks Responses gets the events (`Chunk.native`), anybody else the chat deltas that they amount to
(`vendor_items`). What llama.cpp and its like leave out of an event is filled in: sequence number, indexes, the item's id.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Chunk
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway import sse
from tollkeeper.gateway.dialects.openai_responses import vendor_answer
from tollkeeper.gateway.dialects.openai_responses.vendor_items import TEXT, Item, Items
from tollkeeper.gateway.openai_usage import read_responses_usage, write_usage

_PLACE: Final = ("item_id", "output_index")
_OF_PART: Final = (*_PLACE, "content_index")
_OF_SUMMARY: Final = (*_PLACE, "summary_index")
# What strict readers need of each event beside its own words (openai-python, `types/responses/response_*_event.py`).
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "response.output_item.added": ("output_index",),
    "response.output_item.done": ("output_index",),
    "response.content_part.added": _OF_PART,
    "response.content_part.done": _OF_PART,
    TEXT: (*_OF_PART, "logprobs"),
    "response.output_text.done": (*_OF_PART, "logprobs"),
    "response.refusal.delta": _OF_PART,
    "response.refusal.done": _OF_PART,
    "response.reasoning_text.delta": _OF_PART,
    "response.reasoning_text.done": _OF_PART,
    "response.reasoning_summary_part.added": _OF_SUMMARY,
    "response.reasoning_summary_part.done": _OF_SUMMARY,
    "response.reasoning_summary_text.delta": _OF_SUMMARY,
    "response.reasoning_summary_text.done": _OF_SUMMARY,
    "response.function_call_arguments.delta": _PLACE,
    "response.function_call_arguments.done": _PLACE,
    "response.custom_tool_call_input.delta": _PLACE,
    "response.custom_tool_call_input.done": _PLACE,
}
_WHOLE_TEXT: Final = frozenset(_NEEDED[TEXT])
_TEXT_LINE: Final = b"event: %b\ndata: " % TEXT.encode()
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.done"})
# A tuple: a vendor's type may be no text at all, which no set can be asked for.
_FAILURES: Final = ("response.failed", "response.cancelled", "response.error", "error")
_TEXTS: Final = ("content", "reasoning_content", "refusal")


class ResponsesEvents:
    """One stream's state: `read` takes the data of events and gives the chunks they amount to."""

    __slots__ = ("_call", "_frames", "_has_role", "_head", "_is_native", "_items", "_number", "_texts", "is_over")

    def __init__(self, call: Call, *, is_native: bool) -> None:
        self._call = call
        self._is_native = is_native
        self._head: dict[str, Any] | None = None
        self._items = Items()
        self._has_role = False
        # Of the next event.
        self._number = 0
        # Deltas of text that follow one another, and their events.
        self._texts: list[str] = []
        self._frames: list[bytes] = []
        self.is_over = False

    @property
    def has_begun(self) -> bool:
        return self._head is not None

    def read(self, events: Sequence[bytes], batch: list[Chunk]) -> None:
        """Append what the events amount to. Raises `UpstreamError` for failures and garbage; what came before them is
        in `batch`.
        """
        try:
            for raw in events:
                if self.is_over:
                    return
                if raw != sse.DONE:
                    self._read(raw, batch)
        finally:
            self._flush(batch)

    def _read(self, raw: bytes, batch: list[Chunk]) -> None:
        data = _parse(raw)
        kind: str = data["type"]
        if kind == TEXT and self._read_more_text(data, raw):
            return
        item = self._items.place(kind, data) if kind in _NEEDED else None
        frame = self._frame(kind, data, raw, item) if self._is_native else None
        if kind == TEXT and item is not None and not data.get("logprobs"):
            text = data.get("delta")
            if text and isinstance(text, str):
                self._texts.append(text if item.has_text else self._items.open(item, text))
            if frame is not None:
                self._frames.append(frame)
            return
        self._flush(batch)
        response = data.get("response")
        if isinstance(response, dict):
            self._read_response(kind, response, frame, batch)
            return
        delta = None if item is None else self._items.delta(kind, data, item)
        if delta is not None:
            chunk = self._chunk(delta, frame)
            if kind == TEXT and isinstance(data["logprobs"], list):
                chunk.data["choices"][0]["logprobs"] = {"content": data["logprobs"], "refusal": None}
            batch.append(chunk)
        elif frame is not None:
            batch.append(self._silent(frame))

    def _read_more_text(self, data: dict[str, Any], raw: bytes) -> bool:
        """The usual event: more of a text, with all that belongs to it. False: read it the long way."""
        number, text = data.get("sequence_number"), data.get("delta")
        if (
            not self._items.is_open(data.get("item_id"))
            or type(number) is not int
            or type(text) is not str
            or not data.keys() >= _WHOLE_TEXT
            or data["logprobs"]
            or b"\n" in raw
        ):
            return False
        self._number = number + 1
        self._texts.append(text)
        if self._is_native:
            self._frames.append(_TEXT_LINE + raw + b"\n\n")
        return True

    def _read_response(self, kind: str, response: dict[str, Any], frame: bytes | None, batch: list[Chunk]) -> None:
        """The response itself, as it begins, goes on and ends."""
        if self._head is None:
            self._head = {**vendor_answer.head_of(response, self._call.model), "object": "chat.completion.chunk"}
        if kind not in _ENDS:
            if frame is not None:
                batch.append(self._silent(frame))
            return
        output = response.get("output") or []
        vendor_answer.check_status({"status": "completed", **response, "output": output})
        self.is_over = True
        beside = b"" if self._is_native else None
        for position, whole in enumerate(output):
            # Of a vendor that says something only here.
            item = self._items.find(whole.get("id"), position) if isinstance(whole, dict) else None
            if item is not None and (delta := self._items.whole(item, whole)) is not None:
                batch.append(self._chunk(delta, beside))
        finish = self._chunk({}, frame, vendor_answer.finish_reason(response, has_calls=self._items.calls > 0))
        if response.get("service_tier") is not None:
            finish.data["service_tier"] = response["service_tier"]
        batch.append(finish)
        batch += self._closing(response.get("usage"), finish.data, beside)

    def _closing(self, counted: object, last: Mapping[str, Any], beside: bytes | None) -> list[Chunk]:
        """Usage, seen by a caller that asked, and the mark of the end."""
        end = Chunk(data={}, is_hidden=True, is_final=True, native=beside)
        usage = read_responses_usage(counted)
        if usage is None:
            if counted:
                end.data["usage"] = counted
            return [end]
        shown = {**last, "choices": [], "usage": write_usage(usage)}
        return [Chunk(shown, is_hidden=not self._call.wants_usage, usage=usage, native=beside), end]

    def _flush(self, batch: list[Chunk]) -> None:
        """The deltas of text so far as one chunk."""
        if not self._texts and not self._frames:
            return
        native = b"".join(self._frames) if self._is_native else None
        if self._texts:
            batch.append(self._chunk({"content": "".join(self._texts)}, native))
        elif native is not None:
            batch.append(self._silent(native))
        self._texts, self._frames = [], []

    def _chunk(self, delta: dict[str, Any], native: bytes | None, reason: str | None = None) -> Chunk:
        if self._head is None:
            # A vendor that leaves the first events out.
            self._head = {**vendor_answer.head_of({}, self._call.model), "object": "chat.completion.chunk"}
        if not self._has_role:
            self._has_role = True
            delta = {"role": "assistant", "content": None, **delta}
        length = _length(delta)
        return Chunk(
            {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]},
            is_content=bool(length or reason),
            text_length=length,
            native=native,
        )

    def _silent(self, native: bytes) -> Chunk:
        """An event that means nothing in the chat form."""
        return Chunk({**(self._head or {}), "choices": []}, native=native)

    def _frame(self, kind: str, data: dict[str, Any], raw: bytes, item: Item | None) -> bytes:
        """The event as it came, framed anew; what a strict reader would miss is put in."""
        missing: dict[str, Any] = {}
        if item is not None:
            for name in _NEEDED[kind]:
                if data.get(name) is None:
                    missing[name] = _filling(name, item)
        # Others have no number: events of a vendor's own.
        if kind.startswith("response."):
            number = data.get("sequence_number")
            if type(number) is not int:
                missing["sequence_number"] = number = self._number
            self._number = number + 1
        if missing or b"\n" in raw:
            raw = orjson.dumps({**data, **missing})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), raw)


def _parse(raw: bytes) -> dict[str, Any]:
    """An event with its type. Raises for failures, and for what is no event."""
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise UpstreamError("The provider sent an event that is not JSON.", code="upstream_garbage") from error
    if not isinstance(data, dict):
        raise UpstreamError("The provider sent an event that is none.", code="upstream_garbage")
    kind = data.get("type")
    if kind == TEXT:
        return data
    if kind in _FAILURES or (kind is None and data.get("error") is not None):
        response = data.get("response")
        raise vendor_answer.failure_of(response if isinstance(response, dict) else data)
    # Its type becomes a line of its own.
    if not isinstance(kind, str) or not kind.isprintable() or not kind.isascii():
        raise UpstreamError("The provider sent an event without its type.", code="upstream_garbage")
    return data


def _filling(name: str, item: Item) -> object:
    if name == "item_id":
        return item.name
    if name == "output_index":
        return item.index
    return [] if name == "logprobs" else 0


def _length(delta: Mapping[str, Any]) -> int:
    length = 0
    for name in _TEXTS:
        text = delta.get(name)
        if text:
            length += len(text)
    for call in delta.get("tool_calls") or ():
        inner = call.get("function") or call.get("custom") or {}
        length += len(inner.get("arguments") or inner.get("input") or "") + len(inner.get("name") or "")
    return length
