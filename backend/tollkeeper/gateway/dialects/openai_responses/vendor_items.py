"""What the items of a vendor's Responses stream add to one chat message, event by event.

Vendors say the same thing up to three times (deltas, the item's end, the response's end) and leave each of them out now
and then: whatever comes first counts, once.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from tollkeeper.gateway.dialects.openai_responses import vendor_answer
from tollkeeper.gateway.openai_repair import repair_arguments

TEXT: Final = "response.output_text.delta"
_ADDED: Final = "response.output_item.added"
Delta = dict[str, Any]


class Item:
    """What has been seen of one item. `call`: which of the message's tool calls it is; `has_gap`: its next text begins a
    paragraph.
    """

    __slots__ = ("call", "has_gap", "has_text", "index", "is_done", "name")

    def __init__(self, index: int, name: str) -> None:
        self.index = index
        self.name = name
        self.call: int | None = None
        self.has_text = False
        self.has_gap = False
        self.is_done = False


class Items:
    """The items of one stream."""

    __slots__ = ("_details", "_has_said", "_known", "_latest", "calls")

    def __init__(self) -> None:
        # By id and by place.
        self._known: dict[object, Item] = {}
        self._latest: Item | None = None
        self._details = 0
        # Whether an earlier item has said something.
        self._has_said = False
        self.calls = 0

    def place(self, kind: str, data: Mapping[str, Any]) -> Item:
        """The item an event speaks of: by its id, else its place, else the latest."""
        whole = data.get("item")
        name, index = data.get("item_id"), data.get("output_index")
        if name is None and isinstance(whole, dict):
            name = whole.get("id")
        if name is None and index is None and self._latest is not None and kind != _ADDED:
            return self._latest
        return self.find(name, index)

    def is_open(self, name: object) -> bool:
        """Whether this item is the latest, and has said something."""
        latest = self._latest
        return latest is not None and latest.has_text and latest.name == name

    def find(self, name: object, index: object) -> Item:
        known = self._known
        item = known.get(name) if isinstance(name, str) else None
        if item is None and type(index) is int:
            item = known.get(index)
        if item is None:
            place = index if type(index) is int else sum(type(one) is int for one in known)
            item = Item(place, name if isinstance(name, str) else f"item_{place}")
            known[item.name] = known[place] = item
        self._latest = item
        return item

    def open(self, item: Item, text: str) -> str:
        """An item's next text; the first of a later one begins a paragraph of its own."""
        if item.has_text:
            return text
        item.has_text = True
        begun, self._has_said = self._has_said, True
        return f"\n\n{text}" if begun else text

    def delta(self, kind: str, data: Mapping[str, Any], item: Item) -> Delta | None:
        """What an event adds; None where that is nothing, or nothing new."""
        read = _READERS.get(kind)
        return None if read is None else read(self, data, item)

    def whole(self, item: Item, whole: Mapping[str, Any]) -> Delta | None:
        """Of a finished item what its events have not said."""
        if item.is_done:
            return None
        item.is_done = True
        kind = whole.get("type")
        if kind == "message":
            return self._whole_message(item, whole)
        return self._whole_reasoning(item, whole) if kind == "reasoning" else self._whole_call(item, whole)

    # Events, by their kind

    def _added(self, data: Mapping[str, Any], item: Item) -> Delta | None:
        whole = data.get("item")
        return self._begin_call(item, whole) if isinstance(whole, dict) else None

    def _done(self, data: Mapping[str, Any], item: Item) -> Delta | None:
        whole = data.get("item")
        return self.whole(item, whole) if isinstance(whole, dict) else None

    def _text(self, data: Mapping[str, Any], item: Item) -> Delta | None:
        text = _said(data, "delta")
        return {"content": self.open(item, text)} if text else None

    def _refusal(self, data: Mapping[str, Any], item: Item) -> Delta | None:
        text = _said(data, "delta")
        item.has_text = item.has_text or bool(text)
        return {"refusal": text} if text else None

    def _summary_part(self, data: Mapping[str, Any], item: Item) -> Delta | None:  # noqa: ARG002 - of one kind
        item.has_gap = item.has_text
        return None

    def _thought(self, data: Mapping[str, Any], item: Item) -> Delta | None:
        text = _said(data, "delta")
        if not text:
            return None
        begins, item.has_gap, item.has_text = item.has_gap, False, True
        return {"reasoning_content": f"\n\n{text}" if begins else text}

    def _arguments(self, data: Mapping[str, Any], item: Item) -> Delta | None:
        return _more(item, "function", "arguments", _said(data, "delta"))

    def _input(self, data: Mapping[str, Any], item: Item) -> Delta | None:
        return _more(item, "custom", "input", _said(data, "delta"))

    def _late_arguments(self, data: Mapping[str, Any], item: Item) -> Delta | None:
        """Those of vendors that send them only with the end."""
        text = repair_arguments(data.get("arguments"), empty="")
        return None if item.has_text else _more(item, "function", "arguments", text)

    def _late_input(self, data: Mapping[str, Any], item: Item) -> Delta | None:
        return None if item.has_text else _more(item, "custom", "input", _said(data, "input"))

    # Whole items

    def _begin_call(self, item: Item, whole: Mapping[str, Any]) -> Delta | None:
        call = vendor_answer.tool_call(whole)
        if call is None or item.call is not None:
            return None
        item.call = self.calls
        self.calls += 1
        kind, field = _fields(call)
        text = whole.get(field)
        # What is there already, as some vendors have it; not what stands for nothing so far.
        text = "" if text in (None, "", "null") else call[kind][field]
        item.has_text = bool(text)
        return {"tool_calls": [{"index": item.call, **call, kind: {**call[kind], field: text}}]}

    def _whole_call(self, item: Item, whole: Mapping[str, Any]) -> Delta | None:
        if item.call is None:
            return self._begin_call(item, whole)
        call = vendor_answer.tool_call(whole)
        if call is None or item.has_text:
            return None
        kind, field = _fields(call)
        return _more(item, kind, field, call[kind][field])

    def _whole_reasoning(self, item: Item, whole: Mapping[str, Any]) -> Delta | None:
        said: Delta = {}
        if not item.has_text and (thoughts := vendor_answer.thoughts_of(whole)):
            said["reasoning_content"] = "\n\n".join(thoughts)
        if isinstance(whole.get("encrypted_content"), str):
            said["reasoning_details"] = vendor_answer.reasoning_details(whole, self._details)
            self._details += len(said["reasoning_details"])
        return said or None

    def _whole_message(self, item: Item, whole: Mapping[str, Any]) -> Delta | None:
        message = vendor_answer.message_of([whole])
        said: Delta = {}
        if not item.has_text:
            if message["content"]:
                said["content"] = self.open(item, message["content"])
            if message["refusal"]:
                said["refusal"] = message["refusal"]
        if "annotations" in message:
            said["annotations"] = message["annotations"]
        return said or None


_READERS: Final[Mapping[str, Callable[[Items, Mapping[str, Any], Item], Delta | None]]] = {
    _ADDED: Items._added,  # noqa: SLF001 - the table of its own methods
    "response.output_item.done": Items._done,  # noqa: SLF001
    TEXT: Items._text,  # noqa: SLF001
    "response.refusal.delta": Items._refusal,  # noqa: SLF001
    "response.reasoning_summary_part.added": Items._summary_part,  # noqa: SLF001
    "response.reasoning_summary_text.delta": Items._thought,  # noqa: SLF001
    "response.reasoning_text.delta": Items._thought,  # noqa: SLF001
    "response.function_call_arguments.delta": Items._arguments,  # noqa: SLF001
    "response.function_call_arguments.done": Items._late_arguments,  # noqa: SLF001
    "response.custom_tool_call_input.delta": Items._input,  # noqa: SLF001
    "response.custom_tool_call_input.done": Items._late_input,  # noqa: SLF001
}


def _more(item: Item, kind: str, field: str, text: str) -> Delta | None:
    """More of a call; nothing where its beginning was left out: then the end of the item says all of it."""
    if item.call is None or not text:
        return None
    item.has_text = True
    return {"tool_calls": [{"index": item.call, kind: {field: text}}]}


def _fields(call: Mapping[str, Any]) -> tuple[str, str]:
    return ("custom", "input") if call["type"] == "custom" else ("function", "arguments")


def _said(data: Mapping[str, Any], name: str) -> str:
    text = data.get(name)
    return text if isinstance(text, str) else ""
