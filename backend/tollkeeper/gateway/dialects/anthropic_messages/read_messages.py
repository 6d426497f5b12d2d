"""Anthropic's messages → the canonical form's.

A run of messages of one role is one turn. Results of tools become messages of their own, before whatever else the user
says in that turn; calls of tools stand beside the texts of theirs. Thinking keeps its place by number and its signature
byte for byte.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.anthropic_messages.envelope import is_wrapped, unwrap
from tollkeeper.gateway.dialects.anthropic_messages.own_blocks import without_our_citations
from tollkeeper.gateway.dialects.anthropic_messages.read_blocks import (
    Part,
    find_flag,
    find_object,
    find_text,
    joined,
    read_blocks,
    read_inner,
    read_parts,
    read_text,
)
from tollkeeper.gateway.dialects.anthropic_messages.vendor_names import LONGEST_NAME, fit_name
from tollkeeper.gateway.openai_fields import missing, wrong_type

_ROLES: Final = ("user", "assistant", "system")


@dataclass(slots=True)
class Reading:
    """What comes of a call's messages beside them."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    # What others will not hear of, by name; and the path of the first thing that nobody else can do.
    unexpressed: dict[str, None] = field(default_factory=dict)
    needs_native: str | None = None
    # Blocks that we made out of another vendor's answer, by (message, block), and what Anthropic may see in their place.
    foreign: dict[tuple[int, int], dict[str, Any] | None] = field(default_factory=dict)

    def need(self, path: str) -> None:
        self.needs_native = self.needs_native or path


@dataclass(slots=True)
class _Turn:
    """What an assistant said in one run of messages."""

    texts: list[Part] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    # By the id of the tool call, what its vendor wants back with it.
    extras: dict[str, Any] = field(default_factory=dict)
    marks: list[Any] = field(default_factory=list)
    blocks: int = 0


def read_system(value: Any, reading: Reading, path: str = "system") -> None:
    """Instructions, where they stand; nothing for none."""
    parts: list[Part] = []
    for block, kind, own in read_blocks(value, path):
        read = read_parts(block, kind, own) if kind == "text" else None
        if read is None:
            raise BadRequest(
                f"Invalid value for '{own}.type': expected 'text'.", param=f"{own}.type", code="invalid_value"
            )
        parts += read
    if parts:
        reading.messages.append({"role": "system", "content": joined(parts)})


def read_messages(value: Any, reading: Reading) -> None:
    if value is None:
        raise missing("messages")
    if not isinstance(value, list):
        raise wrong_type("messages", "an array of objects", value)
    if not value:
        raise missing("messages")
    roles = [_role(message, position) for position, message in enumerate(value)]
    start = 0
    for position, role in enumerate(roles):
        is_last = position + 1 == len(roles)
        if not is_last and roles[position + 1] == role:
            continue
        if role == "user":
            _read_user(value, start, position + 1, reading)
        elif role == "assistant":
            _read_assistant(value, start, position + 1, reading)
            if is_last:
                # Anthropic goes on from there; others begin anew.
                reading.unexpressed["prefill"] = None
        else:
            for one in range(start, position + 1):
                read_system(value[one]["content"], reading, f"messages[{one}].content")
        start = position + 1


def _role(message: Any, position: int) -> str:
    path = f"messages[{position}]"
    if not isinstance(message, dict):
        raise wrong_type(path, "an object", message)
    role = read_text(message, "role", path)
    if role not in _ROLES:
        raise BadRequest(
            f"Invalid value for '{path}.role': expected 'user', 'assistant' or 'system'.",
            param=f"{path}.role",
            code="invalid_value",
        )
    if message.get("content") is None:
        raise missing(f"{path}.content")
    return role


def _read_user(messages: list[Any], start: int, end: int, reading: Reading) -> None:
    said: list[dict[str, Any]] = []
    for position in range(start, end):
        content = messages[position]["content"]
        if isinstance(content, str):
            said.append({"role": "user", "content": content})
            continue
        parts: list[Part] = []
        for block, kind, path in read_blocks(content, f"messages[{position}].content"):
            if kind == "tool_result":
                reading.messages.append(_read_tool_result(block, path, reading))
                continue
            read = read_parts(block, kind, path)
            if read is None:
                reading.need(f"{path}.type")
                read = [dict(block)]
            parts += read
        if parts:
            said.append({"role": "user", "content": joined(parts)})
    reading.messages += said


def _read_tool_result(block: Mapping[str, Any], path: str, reading: Reading) -> dict[str, Any]:
    answer: dict[str, Any] = {"role": "tool", "tool_call_id": read_text(block, "tool_use_id", path), "content": ""}
    content = block.get("content")
    if content is not None:
        parts: list[Part] = []
        for inner, kind, own in read_blocks(content, f"{path}.content"):
            read = read_parts(inner, kind, own)
            if read is None:
                reading.need(f"{own}.type")
                read = [dict(inner)]
            parts += read
        answer["content"] = joined(parts) if parts else ""
    if find_flag(block, "is_error", path):
        answer["is_error"] = True
    if (mark := find_object(block, "cache_control", path)) is not None:
        answer["cache_control"] = mark
    return answer


def _read_assistant(messages: list[Any], start: int, end: int, reading: Reading) -> None:
    turn = _Turn()
    for position in range(start, end):
        path = f"messages[{position}].content"
        for number, (block, kind, own) in enumerate(read_blocks(messages[position]["content"], path)):
            if kind in {"thinking", "redacted_thinking"}:
                if _read_thinking(block, kind, own, turn):
                    reading.foreign[position, number] = None
            elif kind == "tool_use":
                _read_tool_use(block, own, turn)
            else:
                parts = read_parts(block, kind, own) if kind == "text" else None
                if parts is None:
                    # The vendor's own tools and what came of them: only their vendor can read that again.
                    reading.unexpressed[kind] = None
                    parts = [dict(block)]
                elif block.get("citations"):
                    reading.unexpressed["citations"] = None
                    if (own_block := without_our_citations(block)) is not None:
                        reading.foreign[position, number] = own_block
                turn.texts += parts
            turn.blocks += 1
    message = _message(turn)
    if message is not None:
        reading.messages.append(message)


def _message(turn: _Turn) -> dict[str, Any] | None:
    if not (turn.texts or turn.calls):
        return None
    message: dict[str, Any] = {"role": "assistant", "content": _assistant_content(turn.texts)}
    thoughts = [text for detail in turn.details if (text := detail.get("text") or detail.get("summary"))]
    if thoughts:
        message["reasoning_content"] = "\n\n".join(thoughts)
    if turn.details:
        message["reasoning_details"] = turn.details
    if turn.calls:
        for call in turn.calls:
            if call["id"] in turn.extras:
                call["extra_content"] = turn.extras[call["id"]]
        message["tool_calls"] = turn.calls
    if turn.marks:
        message["cache_control"] = turn.marks[-1]
    return message


def _assistant_content(texts: list[Part]) -> str | list[Part] | None:
    if not texts:
        return None
    if all(part.keys() == {"type", "text"} and part["type"] == "text" for part in texts):
        # Pieces of one text, between which it called tools or thought.
        return "".join(part["text"] for part in texts)
    return joined(texts)


def _read_tool_use(block: Mapping[str, Any], path: str, turn: _Turn) -> None:
    arguments = orjson.dumps(read_inner(block, "input", path)).decode()
    name = read_text(block, "name", path)
    inner = {"name": fit_name(name) if len(name) > LONGEST_NAME else name, "arguments": arguments}
    turn.calls.append({"id": read_text(block, "id", path), "type": "function", "function": inner})
    if (mark := find_object(block, "cache_control", path)) is not None:
        turn.marks.append(mark)


def _read_thinking(block: Mapping[str, Any], kind: str, path: str, turn: _Turn) -> bool:
    """Whether it is another vendor's, which Anthropic could not read."""
    if kind == "redacted_thinking":
        data = read_text(block, "data", path)
        if not is_wrapped(data):
            turn.details.append(
                {"type": "reasoning.encrypted", "data": data, "format": "anthropic", "index": turn.blocks}
            )
            return False
        content = unwrap(data, f"{path}.data")
        if isinstance(content.get("extra_content"), dict):
            turn.extras[str(content.get("tool_call_id"))] = content["extra_content"]
        else:
            turn.details.append({**_known(content, f"{path}.data"), "index": turn.blocks})
        return True
    text = read_text(block, "thinking", path)
    signature = find_text(block, "signature", path)
    if signature and is_wrapped(signature):
        content = _known(unwrap(signature, f"{path}.signature"), f"{path}.signature")
        named = "summary" if content["type"] == "reasoning.summary" else "text"
        turn.details.append({**content, named: text, "index": turn.blocks})
        return True
    detail = {"type": "reasoning.text", "text": text, "index": turn.blocks}
    if signature:
        detail |= {"signature": signature, "format": "anthropic"}
    turn.details.append(detail)
    return not signature


_DETAIL: Final = frozenset({"type", "data", "text", "summary", "signature", "id", "format"})


def _known(content: Mapping[str, Any], param: str) -> dict[str, Any]:
    if not isinstance(content.get("type"), str) or not all(
        name in _DETAIL and isinstance(value, str) for name, value in content.items()
    ):
        raise BadRequest(
            f"Invalid '{param}': it is not as it was given. Send thinking blocks back unchanged, or leave them out.",
            param=param,
            code="invalid_value",
        )
    return dict(content)
