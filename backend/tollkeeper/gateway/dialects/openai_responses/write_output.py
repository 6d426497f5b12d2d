"""The output of one answer: canonical deltas in, items and their events out. A whole message is one delta."""

from collections.abc import Mapping, Sequence
from typing import Any

from tollkeeper.gateway.dialects.openai_responses.write_events import Events
from tollkeeper.gateway.dialects.openai_responses.write_items import Message, Reasoning, ToolCall, write_picture
from tollkeeper.gateway.openai_repair import new_id

_Open = Message | Reasoning


class Output:
    """One item is open at a time, tool calls aside: their pieces may come mixed, and all of them end with the answer."""

    __slots__ = ("_calls", "_events", "_items", "_open", "_shows_encrypted", "_summarises")

    def __init__(self, events: Events, *, summarises: bool, shows_encrypted: bool) -> None:
        """`summarises`: the caller asked for summaries of what is thought, so they are told as such."""
        self._events = events
        self._summarises = summarises
        self._shows_encrypted = shows_encrypted
        # In the order of their indexes; None: not closed yet.
        self._items: list[dict[str, Any] | None] = []
        self._open: tuple[int, _Open] | None = None
        self._calls: dict[int, tuple[int, ToolCall]] = {}

    def text(self, delta: str) -> None:
        """Plain text: most of what ever comes."""
        self._message().text(delta)

    def feed(self, delta: Mapping[str, Any], logprobs: object = None) -> None:
        self._think(delta)
        content = delta.get("content")
        if isinstance(content, list):
            # Mistral's parts.
            content = "".join(
                part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        if isinstance(content, str) and content:
            tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
            if isinstance(tokens, list) and tokens:
                self._message().text_with(content, [_logprob(token) for token in tokens if isinstance(token, dict)])
            else:
                self._message().text(content)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._message().refuse(refusal)
        for annotation in _listed(delta.get("annotations")):
            if (flat := _annotation(annotation)) is not None:
                self._message().annotate(flat)
        for image in _listed(delta.get("images")):
            self._picture(image)
        for position, call in enumerate(_listed(delta.get("tool_calls"))):
            if isinstance(call, dict):
                self._call(call, position)

    def close(self, status: str) -> list[dict[str, Any]]:
        """All items. Of an answer that was cut, the last is what it broke off in."""
        if not self._items and status == "completed":
            self._message().begin()
        last = len(self._items) - 1
        self._close_open(status if self._open is not None and self._open[0] == last else "completed")
        for index, call in self._calls.values():
            self._items[index] = call.close(status if index == last else "completed")
        self._calls.clear()
        return [item for item in self._items if item is not None]

    def _think(self, delta: Mapping[str, Any]) -> None:
        details = [detail for detail in _listed(delta.get("reasoning_details")) if isinstance(detail, dict)]
        text = delta.get("reasoning_content") or delta.get("reasoning")
        if not isinstance(text, str) or not text:
            text = "".join(filter(None, (_readable(detail) for detail in details)))
        if not text and not details:
            return
        item = self._reasoning(details)
        for position, detail in enumerate(details):
            item.detail(detail, position)
        if text:
            item.text(text)

    def _message(self) -> Message:
        if self._open is not None and isinstance(self._open[1], Message):
            return self._open[1]
        self._close_open("completed")
        message = Message(self._events, self._add())
        self._open = (len(self._items) - 1, message)
        return message

    def _reasoning(self, details: Sequence[Mapping[str, Any]]) -> Reasoning:
        if self._open is not None and isinstance(self._open[1], Reasoning):
            return self._open[1]
        self._close_open("completed")
        summarises = self._summarises or any(detail.get("type") == "reasoning.summary" for detail in details)
        item = Reasoning(self._events, self._add(), summarises=summarises, shows_encrypted=self._shows_encrypted)
        self._open = (len(self._items) - 1, item)
        return item

    def _call(self, fragment: Mapping[str, Any], position: int) -> None:
        number = fragment.get("index")
        number = number if isinstance(number, int) else position
        known = self._calls.get(number)
        if known is None:
            self._close_open("completed")
            call_id = fragment.get("id")
            is_custom = fragment.get("type") == "custom" or "custom" in fragment
            name = call_id if isinstance(call_id, str) and call_id else new_id("call_")
            index = self._add()
            known = self._calls[number] = (index, ToolCall(self._events, index, name, is_custom=is_custom))
        known[1].feed(fragment)

    def _picture(self, image: object) -> None:
        """One that a model made, whole at once."""
        inner = image.get("image_url") if isinstance(image, dict) else None
        url = inner.get("url") if isinstance(inner, dict) else None
        if isinstance(url, str):
            self._close_open("completed")
            index = self._add()
            self._items[index] = write_picture(self._events, index, url)

    def _add(self) -> int:
        self._items.append(None)
        return len(self._items) - 1

    def _close_open(self, status: str) -> None:
        if self._open is not None:
            index, item = self._open
            self._open = None
            self._items[index] = item.close(status)


def _listed(value: object) -> list[Any]:
    """A vendor's list; anything else that it puts there is none."""
    return value if isinstance(value, list) else []


def _readable(detail: Mapping[str, Any]) -> str | None:
    text = detail.get("text") or detail.get("summary")
    return text if isinstance(text, str) else None


def _logprob(token: Mapping[str, Any]) -> dict[str, Any]:
    most = [one for one in _listed(token.get("top_logprobs")) if isinstance(one, dict)]
    return {"bytes": [], **token, "top_logprobs": [{"bytes": [], **one} for one in most]}


def _annotation(annotation: object) -> dict[str, Any] | None:
    """Nested in a chat answer, flat here."""
    if not isinstance(annotation, dict) or not isinstance(kind := annotation.get("type"), str):
        return None
    inner = annotation.get(kind)
    return {"type": kind, **inner} if isinstance(inner, dict) else dict(annotation)
