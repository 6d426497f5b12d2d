"""The items of an answer as they come into being, out of canonical deltas: a message, reasoning, tool calls.

Each announces itself, its parts and its pieces as events, and is an object of the Response in the end.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tollkeeper.gateway.dialects.openai_responses import reasoning
from tollkeeper.gateway.dialects.openai_responses.write_events import Events, delta_head
from tollkeeper.gateway.openai_repair import new_id

_TAIL: Final = b","
_TEXT_TAIL: Final = b',"logprobs":[],'


class Message:
    __slots__ = ("_at", "_events", "_head", "_pieces", "content", "id")

    def __init__(self, events: Events, output_index: int) -> None:
        self.id = new_id("msg_")
        self.content: list[dict[str, Any]] = []
        self._events = events
        self._at = {"item_id": self.id, "output_index": output_index}
        self._pieces: list[str] = []
        self._head = b""
        events.emit("response.output_item.added", output_index=output_index, item=self._item("in_progress"))

    def text(self, delta: str) -> None:
        self._part("output_text")
        self._pieces.append(delta)
        self._events.emit_delta(self._head, delta, _TEXT_TAIL)

    def text_with(self, delta: str, logprobs: Sequence[Any]) -> None:
        """Text whose tokens come with their probabilities."""
        self._part("output_text")
        self._pieces.append(delta)
        part = self.content[-1]
        part["logprobs"] += logprobs
        place = {**self._at, "content_index": len(self.content) - 1}
        self._events.emit("response.output_text.delta", **place, delta=delta, logprobs=logprobs)

    def annotate(self, annotation: Mapping[str, Any]) -> None:
        self._part("output_text")
        known = self.content[-1]["annotations"]
        known.append(annotation)
        self._events.emit(
            "response.output_text.annotation.added",
            **self._at,
            content_index=len(self.content) - 1,
            annotation_index=len(known) - 1,
            annotation=annotation,
        )

    def refuse(self, delta: str) -> None:
        self._part("refusal")
        self._pieces.append(delta)
        self._events.emit_delta(self._head, delta, _TAIL)

    def begin(self) -> None:
        """A message that says nothing has its text all the same."""
        self._part("output_text")

    def close(self, status: str) -> dict[str, Any]:
        self._close_part()
        item = self._item(status)
        self._events.emit("response.output_item.done", output_index=self._at["output_index"], item=item)
        return item

    def _item(self, status: str) -> dict[str, Any]:
        return {"type": "message", "id": self.id, "status": status, "role": "assistant", "content": self.content}

    def _part(self, kind: str) -> None:
        if self.content and self.content[-1]["type"] == kind:
            return
        self._close_part()
        place = {**self._at, "content_index": len(self.content)}
        part: dict[str, Any]
        if kind == "refusal":
            part = {"type": "refusal", "refusal": ""}
        else:
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        self._events.emit("response.content_part.added", **place, part=part)
        self.content.append(part)
        self._head = delta_head(
            "response.refusal.delta" if kind == "refusal" else "response.output_text.delta", **place
        )

    def _close_part(self) -> None:
        if not self.content:
            return
        part = self.content[-1]
        place = {**self._at, "content_index": len(self.content) - 1}
        text = "".join(self._pieces)
        self._pieces.clear()
        if part["type"] == "refusal":
            part["refusal"] = text
            self._events.emit("response.refusal.done", **place, refusal=text)
        else:
            part["text"] = text
            self._events.emit("response.output_text.done", **place, text=text, logprobs=part["logprobs"])
        self._events.emit("response.content_part.done", **place, part=part)


class Reasoning:
    """Thinking as it was, or summaries of it; and what its vendor wants back, for the caller to keep."""

    __slots__ = ("_at", "_details", "_events", "_head", "_pieces", "_shows_encrypted", "_summarises", "id")

    def __init__(self, events: Events, output_index: int, *, summarises: bool, shows_encrypted: bool) -> None:
        self.id = new_id("rs_")
        self._events = events
        self._at = {"item_id": self.id, "output_index": output_index}
        self._summarises = summarises
        self._shows_encrypted = shows_encrypted
        self._details: dict[object, dict[str, Any]] = {}
        self._pieces: list[str] = []
        self._head = b""
        item = {"type": "reasoning", "id": self.id, "status": "in_progress", "summary": []}
        events.emit("response.output_item.added", output_index=output_index, item=item)

    def text(self, delta: str) -> None:
        if not self._pieces:
            if self._summarises:
                place = {**self._at, "summary_index": 0}
                part = {"type": "summary_text", "text": ""}
                self._events.emit("response.reasoning_summary_part.added", **place, part=part)
                self._head = delta_head("response.reasoning_summary_text.delta", **place)
            else:
                place = {**self._at, "content_index": 0}
                part = {"type": "reasoning_text", "text": ""}
                self._events.emit("response.content_part.added", **place, part=part)
                self._head = delta_head("response.reasoning_text.delta", **place)
        self._pieces.append(delta)
        self._events.emit_delta(self._head, delta, _TAIL)

    def detail(self, detail: Mapping[str, Any], position: int) -> None:
        """A fragment: entries of one index are one; texts grow, the rest is told once."""
        index = detail.get("index")
        key = index if isinstance(index, int) else ("at", position)
        known = self._details.setdefault(key, {})
        for name, value in detail.items():
            if name in {"text", "summary", "data", "signature"} and isinstance(value, str):
                known[name] = known.get(name, "") + value
            elif value is not None:
                known[name] = value

    def close(self, status: str) -> dict[str, Any]:
        text = "".join(self._pieces)
        item: dict[str, Any] = {"type": "reasoning", "id": self.id, "status": status, "summary": []}
        if self._pieces:
            if self._summarises:
                part = {"type": "summary_text", "text": text}
                place = {**self._at, "summary_index": 0}
                self._events.emit("response.reasoning_summary_text.done", **place, text=text)
                self._events.emit("response.reasoning_summary_part.done", **place, part=part)
                item["summary"] = [part]
            else:
                part = {"type": "reasoning_text", "text": text}
                place = {**self._at, "content_index": 0}
                self._events.emit("response.reasoning_text.done", **place, text=text)
                self._events.emit("response.content_part.done", **place, part=part)
                item["content"] = [part]
        shown = item
        if (encrypted := reasoning.pack(list(self._details.values()))) is not None:
            item = {**item, "encrypted_content": encrypted}
            shown = item if self._shows_encrypted else shown
        self._events.emit("response.output_item.done", output_index=self._at["output_index"], item=shown)
        return item


class ToolCall:
    """Announced once its name is known: clients look the tool up by it."""

    __slots__ = (
        "_at",
        "_call_id",
        "_events",
        "_extra",
        "_field",
        "_head",
        "_is_open",
        "_kind",
        "_pieces",
        "id",
        "name",
    )

    def __init__(self, events: Events, output_index: int, call_id: str, *, is_custom: bool) -> None:
        self._kind, self._field = ("custom_tool_call", "input") if is_custom else ("function_call", "arguments")
        self.id = new_id("ctc_" if is_custom else "fc_")
        self.name = ""
        self._call_id = call_id
        self._events = events
        self._at = {"item_id": self.id, "output_index": output_index}
        self._extra: dict[str, Any] = {}
        self._pieces: list[str] = []
        self._head = b""
        self._is_open = False

    def feed(self, fragment: Mapping[str, Any]) -> None:
        inner = fragment.get("function") or fragment.get("custom")
        if not isinstance(inner, dict):
            inner = {}
        name, piece = inner.get("name"), inner.get(self._field)
        if isinstance(fragment.get("extra_content"), dict):
            self._extra = {"extra_content": fragment["extra_content"]}
        if isinstance(name, str) and not self._is_open:
            self.name += name
        if self.name:
            self._open()
        if isinstance(piece, str) and piece:
            self._pieces.append(piece)
            if self._is_open:
                self._events.emit_delta(self._head, piece, _TAIL)

    def close(self, status: str) -> dict[str, Any]:
        self._open()
        whole = "".join(self._pieces)
        if not whole and self._kind == "function_call":
            whole = "{}"
        done = {**self._at, self._field: whole}
        if self._kind == "function_call":
            self._events.emit("response.function_call_arguments.done", **done, name=self.name)
        else:
            self._events.emit("response.custom_tool_call_input.done", **done)
        item = self._item(status, whole)
        self._events.emit("response.output_item.done", output_index=self._at["output_index"], item=item)
        return item

    def _open(self) -> None:
        if self._is_open:
            return
        self._is_open = True
        kind = "function_call_arguments" if self._kind == "function_call" else "custom_tool_call_input"
        self._head = delta_head(f"response.{kind}.delta", **self._at)
        item = self._item("in_progress", "")
        self._events.emit("response.output_item.added", output_index=self._at["output_index"], item=item)
        for piece in self._pieces:
            self._events.emit_delta(self._head, piece, _TAIL)

    def _item(self, status: str, whole: str) -> dict[str, Any]:
        return {
            "type": self._kind,
            "id": self.id,
            "call_id": self._call_id,
            "name": self.name,
            self._field: whole,
            "status": status,
            **self._extra,
        }


def write_picture(events: Events, output_index: int, url: str) -> dict[str, Any]:
    """The item of a picture that a model made, and its events. `url`: a `data:` URI; of any other address its name."""
    head, _, data = url.partition(",")
    kind = head.removeprefix("data:image/").partition(";")[0] if head.startswith("data:image/") else ""
    item = {"type": "image_generation_call", "id": new_id("ig_"), "status": "in_progress", "result": None}
    place = {"item_id": item["id"], "output_index": output_index}
    events.emit("response.output_item.added", output_index=output_index, item=item)
    events.emit("response.image_generation_call.in_progress", **place)
    events.emit("response.image_generation_call.completed", **place)
    item = {**item, "status": "completed", "result": data or url}
    if kind:
        item["output_format"] = kind
    events.emit("response.output_item.done", output_index=output_index, item=item)
    return item
