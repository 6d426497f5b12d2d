"""Gemini's `systemInstruction` and `contents` as canonical messages.

Calls and answers may come without ids: then they are numbered, and an answer belongs to the next call of its name.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.gemini import foreign
from tollkeeper.gateway.dialects.gemini.read_fields import Json, read_bool, read_fields, read_list, read_text
from tollkeeper.gateway.dialects.gemini.read_parts import Told, read_code, read_media
from tollkeeper.gateway.openai_fields import missing

_USERS = frozenset({"user", "function", "tool"})


class Messages:
    """Collects the messages of one document."""

    def __init__(self, told: Told) -> None:
        self.found: list[Json] = []
        self._told = told
        self._calls = 0
        self._open = _Open()

    def add_system(self, value: Any) -> None:
        where = "systemInstruction"
        texts = []
        for position, entry in enumerate(_parts(read_fields(value, where), where)):
            place = f"{where}.parts[{position}]"
            part = read_fields(entry, place)
            if part.get("text") is not None:
                texts.append(read_text(part["text"], f"{place}.text"))
            else:
                self._told.leave_out(f"{where}.parts")
                self._told.has_hidden_file = True
        if any(texts):
            self.found.append({"role": "system", "content": "\n\n".join(filter(None, texts))})

    def add(self, value: Any) -> None:
        if value is None:
            raise missing("contents")
        contents = read_list(value, "contents")
        if not contents:
            raise missing("contents")
        for position, entry in enumerate(contents):
            where = f"contents[{position}]"
            content = read_fields(entry, where)
            role = content.get("role") or "user"
            if role == "model":
                self._add_model(_parts(content, where), where)
            elif isinstance(role, str) and role in _USERS:
                self._add_user(_parts(content, where), where)
            else:
                raise BadRequest(
                    f"Invalid value for '{where}.role': expected 'user' or 'model'.",
                    param=f"{where}.role",
                    code="invalid_value",
                )

    def _add_user(self, parts: list[Any], where: str) -> None:
        """Answers to calls first, then what the user says beside them."""
        said: list[Json] = []
        for position, entry in enumerate(parts):
            place = f"{where}.parts[{position}]"
            part = read_fields(entry, place)
            if part.get("text") is not None:
                text = read_text(part["text"], f"{place}.text")
                said.append({"type": "text", "text": text})
            elif part.get("functionResponse") is not None:
                self.found.append(self._answer(part["functionResponse"], f"{place}.functionResponse"))
            elif (media := read_media(part, place, self._told)) is not None:
                said.append(media)
        if len(said) == 1 and said[0]["type"] == "text":
            self.found.append({"role": "user", "content": said[0]["text"]})
        elif said:
            self.found.append({"role": "user", "content": said})

    def _answer(self, value: Any, where: str) -> Json:
        response = read_fields(value, where)
        name = read_text(response.get("name"), f"{where}.name")
        given = response.get("id")
        call_id = self._match(name, None if given is None else read_text(given, f"{where}.id"))
        result = response.get("response")
        result = {} if result is None else result
        read_fields(result, f"{where}.response")
        message: Json = {"role": "tool", "tool_call_id": call_id, "content": _content(result)}
        if result.keys() == {"error"} and isinstance(result["error"], str):
            message["is_error"] = True
        media = [
            found
            for position, entry in enumerate(read_list(response.get("parts"), f"{where}.parts"))
            if (
                found := read_media(
                    read_fields(entry, f"{where}.parts[{position}]"), f"{where}.parts[{position}]", self._told
                )
            )
            is not None
        ]
        if media:
            message["content"] = [{"type": "text", "text": message["content"]}, *media]
        return message

    def _match(self, name: str, given: str | None) -> str:
        if given is not None:
            self._open.take_id(given)
            return given
        call_id = self._open.take(name)
        return self._new_id() if call_id is None else call_id

    def _new_id(self) -> str:
        self._calls += 1
        return f"call_{self._calls}"

    def _add_model(self, parts: list[Any], where: str) -> None:
        turn = _Turn()
        self._open = _Open()
        for position, entry in enumerate(parts):
            place = f"{where}.parts[{position}]"
            part = read_fields(entry, place)
            signature = part.get("thoughtSignature")
            if signature is not None and foreign.is_wrapped(read_text(signature, f"{place}.thoughtSignature")):
                self._told.has_foreign = True
                turn.details += foreign.unwrap(signature)
                turn.is_foreign = True
                signature = None
            if part.get("functionCall") is not None:
                turn.calls.append(self._call(part["functionCall"], signature, f"{place}.functionCall"))
            elif part.get("text") is not None:
                is_thought = part.get("thought")
                is_thought = is_thought is not None and read_bool(is_thought, f"{place}.thought")
                turn.say(read_text(part["text"], f"{place}.text"), signature, is_thought=is_thought)
            elif (code := read_code(part, place)) is not None:
                turn.say(code, signature, is_thought=False)
            elif part.get("inlineData") is not None or part.get("fileData") is not None:
                media = read_media(part, place, self._told)
                if media is not None and media["type"] == "file":
                    self._told.has_hidden_file = True
                self._told.leave_out(f"{place}.{'inlineData' if part.get('inlineData') is not None else 'fileData'}")
            else:
                read_media(part, place, self._told)
                turn.sign(signature)
        if (message := turn.message()) is not None:
            self.found.append(message)

    def _call(self, value: Any, signature: str | None, where: str) -> Json:
        call = read_fields(value, where)
        name = read_text(call.get("name"), f"{where}.name")
        args = call.get("args")
        args = {} if args is None else args
        read_fields(args, f"{where}.args")
        given = call.get("id")
        call_id = self._new_id() if given is None else read_text(given, f"{where}.id")
        self._open.add(name, call_id)
        made: Json = {
            "id": call_id,
            "type": "function",
            "function": {"name": name, "arguments": orjson.dumps(args).decode()},
        }
        if signature is not None:
            made["extra_content"] = {"google": {"thought_signature": signature}}
        return made


@dataclass(slots=True)
class _Called:
    call_id: str
    is_open: bool = True


class _Open:
    """Calls that were not answered yet, in their order, so that each costs the same however many there are."""

    def __init__(self) -> None:
        self._calls: deque[_Called] = deque()
        self._by_name: dict[str, deque[_Called]] = {}
        self._by_id: dict[str, deque[_Called]] = {}

    def add(self, name: str, call_id: str) -> None:
        called = _Called(call_id)
        self._calls.append(called)
        self._by_name.setdefault(name, deque()).append(called)
        self._by_id.setdefault(call_id, deque()).append(called)

    def take(self, name: str) -> str | None:
        """The first of that name, else the first of all."""
        call_id = _first(self._by_name.get(name))
        return _first(self._calls) if call_id is None else call_id

    def take_id(self, call_id: str) -> None:
        _first(self._by_id.get(call_id))


def _first(calls: deque[_Called] | None) -> str | None:
    while calls:
        called = calls.popleft()
        if called.is_open:
            called.is_open = False
            return called.call_id
    return None


class _Turn:
    """One turn of the model."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.details: list[Json] = []
        self.calls: list[Json] = []
        # Its thoughts are another vendor's, and whole in `details`.
        self.is_foreign = False

    def say(self, text: str, signature: str | None, *, is_thought: bool) -> None:
        if is_thought:
            self.thoughts.append(text)
            if signature is not None:
                self.details.append(
                    {"type": "reasoning.text", "text": text, "signature": signature, "format": "gemini"}
                )
            return
        self.texts.append(text)
        self.sign(signature)

    def sign(self, signature: str | None) -> None:
        if signature is not None:
            self.details.append({"type": "reasoning.encrypted", "data": signature, "format": "gemini"})

    def message(self) -> Json | None:
        text = "".join(self.texts)
        message: Json = {"role": "assistant", "content": text or None}
        thoughts = "".join(self.thoughts)
        if self.is_foreign:
            told = (detail.get("text") or detail.get("summary") for detail in self.details)
            thoughts = "".join(one for one in told if isinstance(one, str))
        if thoughts:
            message["reasoning_content"] = thoughts
        if self.details:
            message["reasoning_details"] = [{**detail, "index": at} for at, detail in enumerate(self.details)]
        if self.calls:
            message["tool_calls"] = self.calls
        return message if text or self.calls else None


def _parts(content: Mapping[str, Any], where: str) -> list[Any]:
    return read_list(content.get("parts"), f"{where}.parts")


def _content(result: Mapping[str, Any]) -> str:
    """The one text under the key that Gemini reads as the whole, else the object."""
    if len(result) == 1:
        name, value = next(iter(result.items()))
        if name in {"output", "result", "error"} and isinstance(value, str):
            return value
    return orjson.dumps(result).decode()
