"""Brings a vendor's chat stream into the shape strict clients need (COMPATIBILITY section 3), touching only what is wrong.

One id, `created` and `model` for all chunks; the role once per choice; tool-call fragments numbered from 0 without gaps;
usage kept apart for one closing chunk. A chunk that is right already keeps its bytes.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Chunk
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.openai_repair import (
    FINISH_REASONS,
    is_translated,
    new_id,
    raise_error,
    repair_arguments,
    repair_finish_reason,
    with_canonical_reasoning,
)
from tollkeeper.gateway.openai_text_pattern import TextPattern, learn_pattern
from tollkeeper.gateway.openai_usage import read_usage

_OBJECT: Final = "chat.completion.chunk"
_TEXTS: Final = ("content", "reasoning_content", "reasoning", "refusal")


class _Choice:
    """What has been seen of one choice."""

    __slots__ = ("calls", "has_role", "is_finished", "names")

    def __init__(self) -> None:
        self.has_role = False
        self.is_finished = False
        # The vendor's (index, id) of a tool call → our index; the calls whose name was sent.
        self.calls: list[tuple[object, str]] = []
        self.names: set[int] = set()


class ChatChunks:
    """One stream's state: `read` takes each event's data and gives the chunk for the caller."""

    __slots__ = ("_call", "_choices", "_created", "_id", "_is_translated", "_model", "_pattern", "_unread", "_usage")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._is_translated = is_translated(call.dialect)
        # A count that is none: the closing chunk carries it to whoever raises the alarm.
        self._unread: object = None
        self._id: object = None
        self._created: object = None
        self._model: object = None
        self._choices: dict[int, _Choice] = {}
        self._usage: Chunk | None = None
        self._pattern: TextPattern | None = None

    @property
    def is_finished(self) -> bool:
        """Whether every choice that began has ended."""
        return bool(self._choices) and all(choice.is_finished for choice in self._choices.values())

    @property
    def has_begun(self) -> bool:
        return bool(self._choices)

    def read(self, raw: bytes) -> Chunk | None:
        """None for events that mean nothing to a client. Raises `UpstreamError` for errors and garbage."""
        pattern = self._pattern
        if pattern is not None and (chunk := pattern.read(raw)) is not None:
            return chunk
        chunk = self._read(raw)
        if pattern is None and chunk is not None and chunk.raw is raw:
            self._pattern = learn_pattern(chunk.data, raw)
        return chunk

    def read_run(self, events: Sequence[bytes]) -> tuple[Chunk, int] | None:
        return None if self._pattern is None else self._pattern.read_run(events)

    def _read(self, raw: bytes) -> Chunk | None:
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise UpstreamError("The provider sent an event that is not JSON.", code="upstream_garbage") from error
        if not isinstance(data, dict):
            raise UpstreamError("The provider sent an event that is no chunk.", code="upstream_garbage")
        raise_error(data)
        is_changed = b"\n" in raw
        if "error" in data:  # null: the AI SDK drops the text of such a chunk
            data = {name: value for name, value in data.items() if name != "error"}
            is_changed = True
        choices = data.get("choices")
        if not choices:
            self._keep_usage(data, raw)
            return None
        if not isinstance(choices, list):
            raise UpstreamError("The provider sent an event that is no chunk.", code="upstream_garbage")
        usage = data.get("usage")
        if usage is not None:
            self._keep_usage(data, None)
            data = {**data, "usage": None} if self._call.wants_usage else _without(data, "usage")
            is_changed = True
        return self._chunk(data, choices, None if is_changed else raw)

    def end(self) -> list[Chunk]:
        """The closing chunks: usage, seen by the caller if it asked, and the mark of the end."""
        final = Chunk(data={}, is_hidden=True, is_final=True)
        if self._usage is None:
            if self._unread:
                final.data["usage"] = self._unread
            return [final]
        return [self._usage, final]

    def _chunk(self, data: dict[str, Any], choices: list[Any], raw: bytes | None) -> Chunk | None:
        is_content = False
        text_length = 0
        repaired: list[Any] | None = None
        for position, choice in enumerate(choices):
            if not isinstance(choice, dict):
                raise UpstreamError("The provider sent an event that is no chunk.", code="upstream_garbage")
            fixed = self._repair_choice(choice, position)
            if fixed is not choice and repaired is None:
                repaired = choices[:position]
            if fixed is None:
                continue
            if repaired is not None:
                repaired.append(fixed)
            length, seen = _weigh(fixed["delta"])
            text_length += length
            is_content = is_content or seen or fixed["finish_reason"] is not None
        if repaired is not None:
            if not repaired:
                return None
            data = {**data, "choices": repaired}
            raw = None
        head = self._repair_head(data)
        if head is not data:
            raw = None
        return Chunk(head, raw, is_content, text_length=text_length)

    def _repair_head(self, data: dict[str, Any]) -> dict[str, Any]:
        if self._id is None:
            self._id = data.get("id") or new_id("chatcmpl-")
            created = data.get("created")
            self._created = created if isinstance(created, int) and created else int(time.time())
            self._model = data.get("model") or self._call.model
        if (
            data.get("id") == self._id
            and data.get("created") == self._created
            and data.get("model") == self._model
            and data.get("object") == _OBJECT
        ):
            return data
        head = {"id": self._id, "object": _OBJECT, "created": self._created, "model": self._model}
        return {**head, **data, **head}

    def _repair_choice(self, choice: dict[str, Any], position: int) -> dict[str, Any] | None:
        """The choice itself when it is right; None when nothing of it concerns the client."""
        index = choice.get("index")
        delta = choice.get("delta")
        reason = choice.get("finish_reason", "")
        if (
            type(index) is not int
            or not isinstance(delta, dict)
            or (reason is not None and reason not in FINISH_REASONS)
        ):
            if delta is None and not repair_finish_reason(reason):
                return None  # Azure's content_filter_offsets
            index = index if type(index) is int else position
            delta = delta if isinstance(delta, dict) else {}
            reason = repair_finish_reason(reason)
            choice = {**choice, "index": index, "delta": delta, "finish_reason": reason}
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = _Choice()
        if reason is not None:
            state.is_finished = True
        fixed = with_canonical_reasoning(delta) if self._is_translated else delta
        if not state.has_role:
            state.has_role = True
            if delta.get("role") != "assistant":
                fixed = {**fixed, "role": "assistant"}
        elif "role" in delta:
            fixed = _without(fixed, "role")
        calls = delta.get("tool_calls")
        if calls:
            repaired = _repair_calls(calls, state)
            if repaired is not calls:
                fixed = {**fixed, "tool_calls": repaired}
        return choice if fixed is delta else {**choice, "delta": fixed}

    def _keep_usage(self, data: dict[str, Any], raw: bytes | None) -> None:
        """Hold the latest usage back; vendors that count in every chunk count cumulatively."""
        counted = data.get("usage")
        if counted is None and isinstance(data.get("x_groq"), dict):
            counted = data["x_groq"].get("usage")
        usage = read_usage(counted)
        if usage is None:
            self._unread = counted
            return
        shown = self._repair_head(_without(data, "choices") | {"choices": [], "usage": counted})
        is_same = raw is not None and data.get("choices") == [] and shown == data
        self._usage = Chunk(shown, raw if is_same else None, is_hidden=not self._call.wants_usage, usage=usage)


def _repair_calls(calls: Any, state: _Choice) -> Any:
    """Tool-call fragments: index in order of appearance; id, type and name once; arguments always a string."""
    if not isinstance(calls, list):
        raise UpstreamError("The provider sent tool calls that are no list.", code="upstream_garbage")
    repaired = [_repair_call(call, state) for call in calls]
    return calls if all(ours is theirs for ours, theirs in zip(repaired, calls, strict=True)) else repaired


def _repair_call(call: Any, state: _Choice) -> dict[str, Any]:
    if not isinstance(call, dict):
        raise UpstreamError("The provider sent a tool call that is no object.", code="upstream_garbage")
    index, is_new = _number(call, state)
    kind = call.get("type") or "function"
    inner = call.get(kind) if isinstance(kind, str) else None
    inner = inner if isinstance(inner, dict) else {}
    field = "input" if kind == "custom" else "arguments"
    value = inner.get(field)
    if not is_new:
        fragment = dict(inner)
        if index in state.names:
            fragment.pop("name", None)
        if value is None:
            fragment.pop(field, None)
        elif not isinstance(value, str):
            fragment[field] = repair_arguments(value, empty="")
        wanted = {"index": index, kind: fragment} if fragment or kind in call else {"index": index}
    else:
        state.names.add(index) if inner.get("name") else None
        text = value if isinstance(value, str) and value != "null" else repair_arguments(value, empty="")
        fragment = {**inner, field: text}
        wanted = {**call, "index": index, "id": state.calls[index][1], "type": kind, kind: fragment}
    return call if wanted == call else wanted


def _number(call: dict[str, Any], state: _Choice) -> tuple[int, bool]:
    """Our index of the tool call a fragment belongs to, and whether it is the first of it."""
    theirs, name = call.get("index"), call.get("id")
    if name:
        for ours, (_, known) in enumerate(state.calls):
            if known == name:
                return ours, False
    else:
        # The latest of that index: vendors that number every call 0 tell them apart by id alone.
        for ours in range(len(state.calls) - 1, -1, -1):
            if theirs is None or state.calls[ours][0] == theirs:
                return ours, False
    state.calls.append((theirs, name if isinstance(name, str) and name else new_id("call_")))
    return len(state.calls) - 1, True


def _weigh(delta: dict[str, Any]) -> tuple[int, bool]:
    """Characters of text and arguments, and whether a caller can see anything of it."""
    length = 0
    for name in _TEXTS:
        text = delta.get(name)
        if text and isinstance(text, str):
            length += len(text)
    calls = delta.get("tool_calls")
    if calls:
        for call in calls:
            inner = call.get("function") or call.get("custom")
            if isinstance(inner, dict):
                length += len(inner.get("arguments") or inner.get("input") or "") + len(inner.get("name") or "")
        return length, True
    return length, bool(length or delta.get("audio") or delta.get("function_call"))


def _without(data: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != name}
