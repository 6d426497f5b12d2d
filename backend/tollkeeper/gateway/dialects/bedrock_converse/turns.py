"""Messages of a canonical call as Converse's turns: of user and assistant in turn, results of tools first, nothing blank.

Cache marks become `cachePoint` blocks behind what they stood on; thinking goes back with its signature to where it stood.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.bedrock_converse.media import (
    audio_block,
    file_block,
    image_block,
    text_document,
    unsupported,
)
from tollkeeper.gateway.dialects.bedrock_converse.models import Traits
from tollkeeper.gateway.dialects.bedrock_converse.names import fit
from tollkeeper.gateway.openai_fields import wrong_type

_SYSTEM: Final = frozenset({"system", "developer"})
# Tuples: what callers send in these places may be of any type.
# Who signed it: thinking that another vendor's model wrote proves nothing here.
_OWN_FORMATS: Final = ("anthropic", "bedrock")
_LIFETIMES: Final = ("5m", "1h")
# Converse takes no result without content.
_NOTHING_SAID: Final = "(empty)"


class Turns:
    """`system` and `turns` as the request has them."""

    def __init__(self, messages: Sequence[Mapping[str, Any]], traits: Traits) -> None:
        self._traits = traits
        self._documents = 0
        self._answered: set[str] = set()
        # Of the last turn; they go before whatever else the user says in it.
        self._results: list[dict[str, Any]] = []
        self.system: list[dict[str, Any]] = []
        self.turns: list[dict[str, Any]] = []
        self.has_tools = False
        for position, message in enumerate(messages):
            self._add(message, f"messages[{position}]")
        self._put_results()
        if not self.turns or self.turns[0]["role"] != "user":
            raise BadRequest(
                "Bedrock needs a conversation that begins with something of the user's.",
                param="messages",
                code="invalid_value",
            )

    def _add(self, message: Mapping[str, Any], where: str) -> None:
        role = message.get("role")
        if role in _SYSTEM:
            blocks = self._blocks(message, where, only_text=True)
            if self.turns:
                # Where models take no system turns in between, it keeps its place as a note.
                self._append("user", blocks)
            else:
                self.system += blocks
        elif role == "user":
            self._append("user", self._blocks(message, where))
        elif role == "assistant":
            self._append("assistant", self._assistant(message, where))
        elif role == "tool":
            self._append_result(message, where)
        else:
            raise BadRequest(
                f"Invalid '{where}.role': Bedrock knows system, developer, user, assistant and tool.",
                param=f"{where}.role",
                code="unsupported_input",
            )

    def _append(self, role: str, blocks: list[dict[str, Any]]) -> None:
        if not blocks:
            return
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["content"] += blocks
        else:
            self._begin(role, blocks)

    def _append_result(self, message: Mapping[str, Any], where: str) -> None:
        call_id = message.get("tool_call_id")
        if not isinstance(call_id, str) or not call_id:
            raise wrong_type(f"{where}.tool_call_id", "a string", call_id)
        call_id = fit(call_id)
        if call_id in self._answered:
            return
        self._answered.add(call_id)
        self.has_tools = True
        blocks = self._blocks(message, where)
        marks = [block for block in blocks if "cachePoint" in block]
        content = [block for block in blocks if "cachePoint" not in block] or [{"text": _NOTHING_SAID}]
        result: dict[str, Any] = {"toolUseId": call_id, "content": content}
        if message.get("is_error"):
            result["status"] = "error"
        found: list[dict[str, Any]] = [{"toolResult": result}, *marks[-1:]]
        if not self.turns or self.turns[-1]["role"] != "user":
            self._begin("user", [])
        self._results += found

    def _begin(self, role: str, blocks: list[dict[str, Any]]) -> None:
        self._put_results()
        self.turns.append({"role": role, "content": blocks})

    def _put_results(self) -> None:
        if self._results:
            turn = self.turns[-1]
            turn["content"] = self._results + turn["content"]
            self._results = []

    def _assistant(self, message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
        if message.get("audio") is not None and message.get("content") is None:
            raise unsupported(f"{where}.audio", "Bedrock keeps no sound of earlier answers")
        blocks = self._blocks(message, where, with_mark=False)
        refusal = message.get("refusal")
        if not blocks and isinstance(refusal, str) and refusal.strip():
            blocks.append({"text": refusal})
        calls = message.get("tool_calls")
        if calls is not None:
            if not isinstance(calls, list):
                raise wrong_type(f"{where}.tool_calls", "an array", calls)
            blocks += [self._use(call, f"{where}.tool_calls[{n}]") for n, call in enumerate(calls)]
        if self._traits.takes_thoughts:
            for index, thought in _thoughts(message):
                blocks.insert(min(index, len(blocks)), thought)
        return blocks + self._mark(message.get("cache_control"))

    def _use(self, call: Any, where: str) -> dict[str, Any]:
        inner = call.get("function") if isinstance(call, dict) else None
        if not isinstance(inner, dict):
            raise unsupported(where, "Bedrock knows calls of functions only")
        name, call_id = inner.get("name"), call.get("id")
        if not isinstance(name, str) or not name:
            raise wrong_type(f"{where}.function.name", "a string", name)
        if not isinstance(call_id, str) or not call_id:
            raise wrong_type(f"{where}.id", "a string", call_id)
        self.has_tools = True
        use = {"toolUseId": fit(call_id), "name": fit(name), "input": _arguments(inner.get("arguments"), where)}
        return {"toolUse": use}

    def _blocks(
        self, message: Mapping[str, Any], where: str, *, only_text: bool = False, with_mark: bool = True
    ) -> list[dict[str, Any]]:
        content = message.get("content")
        blocks: list[dict[str, Any]] = []
        if isinstance(content, str):
            if content.strip():
                blocks.append({"text": content})
        elif content is not None:
            for position, part in enumerate(content):
                place = f"{where}.content[{position}]"
                if not isinstance(part, dict):
                    raise wrong_type(place, "an object", part)
                block = self._block(part, place)
                if only_text and block is not None and "text" not in block:
                    raise unsupported(place, "a system message holds text only")
                if block is not None:
                    blocks += [block, *self._mark(part.get("cache_control"))]
        return blocks + self._mark(message.get("cache_control")) if with_mark and blocks else blocks

    def _block(self, part: Mapping[str, Any], where: str) -> dict[str, Any] | None:
        kind = part.get("type")
        if not isinstance(kind, str):
            raise wrong_type(f"{where}.type", "a string", kind)
        if kind in {"text", "refusal"}:
            text = part.get(kind)
            if not isinstance(text, str):
                raise wrong_type(f"{where}.{kind}", "a string", text)
            if not text.strip():
                return None
            return text_document(part, self._next_document()) if part.get("title") else {"text": text}
        if kind == "image_url":
            return image_block(part, where)
        if kind == "file":
            return file_block(part, where, self._next_document())
        if kind == "input_audio":
            return audio_block(part, where)
        raise unsupported(where, "Bedrock takes text, image_url, file and input_audio parts")

    def _next_document(self) -> int:
        self._documents += 1
        return self._documents

    def _mark(self, control: object) -> list[dict[str, Any]]:
        """A cache mark of Anthropic's as Converse has it; models without a cache would refuse it."""
        if not self._traits.caches:
            return []
        point = cache_point(control)
        return [] if point is None else [point]


def cache_point(control: object) -> dict[str, Any] | None:
    if not isinstance(control, dict):
        return None
    lifetime = control.get("ttl")
    point = {"type": "default"}
    if lifetime in _LIFETIMES:
        point["ttl"] = lifetime
    return {"cachePoint": point}


def _thoughts(message: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """(place among the blocks, block) of the thinking that is signed, or was hidden, in its order."""
    details = message.get("reasoning_details")
    found: list[tuple[int, dict[str, Any]]] = []
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict) or detail.get("format") not in _OWN_FORMATS:
            continue
        text, signature, data, index = (detail.get(name) for name in ("text", "signature", "data", "index"))
        place = index if type(index) is int and index >= 0 else len(found)
        if detail.get("type") == "reasoning.text" and isinstance(signature, str) and signature:
            thought = {"reasoningText": {"text": text if isinstance(text, str) else "", "signature": signature}}
        elif detail.get("type") == "reasoning.encrypted" and detail["format"] == "bedrock" and isinstance(data, str):
            thought = {"redactedContent": data}  # type: ignore[dict-item]
        else:
            continue
        found.append((place, {"reasoningContent": thought}))
    return sorted(found, key=lambda entry: entry[0])


def _arguments(arguments: object, where: str) -> dict[str, Any]:
    if arguments is None or arguments in ("", "null"):
        return {}
    value: object = arguments
    if isinstance(arguments, str):
        try:
            value = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            value = None
    if not isinstance(value, dict):
        raise BadRequest(
            f"Invalid '{where}.function.arguments': expected a JSON object as a string.",
            param=f"{where}.function.arguments",
            code="invalid_value",
        )
    return value
