"""Reads a request of Anthropic's Messages API and refuses what Anthropic refuses ("Messages" reference, 2026-10-21)."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tollkeeper.gateway.simulator.vendors.question import Json, pair_up, reject, sign

_KNOWN: Final = frozenset(
    {
        "anthropic_version", "cache_control", "container", "context_management", "diagnostics", "inference_geo",
        "max_tokens", "mcp_servers", "messages", "metadata", "model", "output_config", "output_format", "service_tier",
        "speed", "stop_sequences", "stream", "system", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p",
        "user_profile_id", "workspace_id",
    }
)  # fmt: skip
_COUNTED: Final = frozenset(
    {"cache_control", "messages", "model", "output_config", "system", "thinking", "tool_choice", "tools"}
)
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_LEAST_BUDGET = 1024


def read_question(request: Mapping[str, Any], *, counts: bool = False) -> Json:
    """The question in OpenAI's fields. `counts`: for `count_tokens`, which takes fewer fields."""
    for name in request:
        if name not in (_COUNTED if counts else _KNOWN):
            raise reject(f"{name}: Extra inputs are not permitted")
    question: Json = {"messages": [*_system(request.get("system")), *_messages(request.get("messages"))]}
    if not counts:
        question["max_completion_tokens"] = _count(request, "max_tokens")
        _range(request, "temperature", 1)
        _range(request, "top_p", 1)
    stops = request.get("stop_sequences") or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop.strip() for stop in stops):
        raise reject("stop_sequences: each stop sequence must contain non-whitespace")
    question["stop"] = stops
    _read_tools(request, question)
    _read_thinking(request, question)
    form = (request.get("output_config") or {}).get("format") or request.get("output_format")
    if form is not None:
        if not isinstance(form, dict) or form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
            raise reject("output_config.format: Input should be a json_schema with a schema")
        question["response_format"] = {"type": "json_schema", "json_schema": {"schema": form["schema"]}}
    return question


def thinks(request: Mapping[str, Any]) -> bool | None:
    """None: the request does not say."""
    kind = (request.get("thinking") or {}).get("type")
    return None if kind is None else kind != "disabled"


def _system(system: Any) -> list[Json]:
    if system is None:
        return []
    if isinstance(system, str):
        return [{"role": "system", "content": system}]
    return [
        {"role": "system", "content": [_text(block, f"system.{n}") for n, block in enumerate(_list(system, "system"))]}
    ]


def _messages(messages: Any) -> list[Json]:
    if messages is None:
        raise reject("messages: Field required")
    found: list[Json] = []
    open_calls: list[str] = []
    entries = _list(messages, "messages")
    if not entries:
        raise reject("messages: at least one message is required")
    for position, message in enumerate(entries):
        place = f"messages.{position}"
        role = message.get("role")
        if role not in ("user", "assistant", "system"):
            raise reject(f"{place}.role: Input should be 'user', 'assistant' or 'system'")
        if position == 0 and role == "assistant":
            raise reject('messages: first message must use the "user" role')
        extra = message.keys() - {"role", "content"}
        if extra:
            raise reject(f"{place}.{min(extra)}: Extra inputs are not permitted")
        blocks = _blocks(message.get("content"), place)
        if role == "assistant":
            _settle(open_calls, [], place)
            open_calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
            found.append(_assistant(blocks))
        elif role == "user":
            answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            _settle(open_calls, answered, place)
            kinds = [block["type"] == "tool_result" for block in blocks]
            if kinds != sorted(kinds, reverse=True):
                raise reject(f"{place}: `tool_result` blocks must come first in the content")
            open_calls = []
            found += _user(blocks, place)
        else:
            found.append({"role": "system", "content": [_text(block, place) for block in blocks]})
    _settle(open_calls, [], "messages")
    return found


def _settle(asked: Sequence[str], answered: Sequence[str], place: str) -> None:
    if not pair_up(asked, answered):
        lost = sorted(set(asked) ^ set(answered)) or sorted(answered)
        raise reject(
            f"{place}: `tool_use` ids were found without `tool_result` blocks immediately after, or the reverse: "
            + ", ".join(lost)
        )


def _blocks(content: Any, place: str) -> list[Json]:
    if isinstance(content, str):
        if not content.strip():
            raise reject(f"{place}: text content blocks must be non-empty")
        return [{"type": "text", "text": content}]
    blocks = _list(content, f"{place}.content")
    if not blocks:
        raise reject(f"{place}: all messages must have non-empty content")
    for position, block in enumerate(blocks):
        _check(block, f"{place}.content.{position}")
    return blocks


def _check(block: Json, place: str) -> None:
    kind = block.get("type")
    check = _CHECKS.get(str(kind))
    if check is not None:
        check(block, place)
    elif kind not in _UNCHECKED:
        raise reject(f"{place}: Input tag '{kind}' found using 'type' does not match any of the expected tags")


def _check_use(block: Json, place: str) -> None:
    if not _ID.fullmatch(str(block.get("id"))) or not _NAME.fullmatch(str(block.get("name"))):
        raise reject(f"{place}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if not isinstance(block.get("input"), dict):
        raise reject(f"{place}.input: Input should be a valid dictionary")


def _check_result(block: Json, place: str) -> None:
    if not isinstance(block.get("tool_use_id"), str):
        raise reject(f"{place}.tool_use_id: Field required")
    content = block.get("content")
    if isinstance(content, list):
        for position, inner in enumerate(_list(content, f"{place}.content")):
            _check(inner, f"{place}.content.{position}")
    elif not isinstance(content, str | None):
        raise reject(f"{place}.content: Input should be a string or an array")


def _check_thinking(block: Json, place: str) -> None:
    if block.get("signature") != sign(str(block.get("thinking"))):
        raise reject(f"{place}: Invalid `signature` in `thinking` block")


def _check_image(block: Json, place: str) -> None:
    source = block.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    if isinstance(source, dict) and kind == "base64":
        if source.get("media_type") not in _IMAGES or not isinstance(source.get("data"), str):
            raise reject(f"{place}.source.media_type: Input should be one of {', '.join(sorted(_IMAGES))}")
    elif kind not in ("url", "file"):
        raise reject(f"{place}.source: Input should be 'base64', 'url' or 'file'")


def _text(block: Json, place: str) -> Json:
    text = block.get("text")
    if block.get("type") != "text" or not isinstance(text, str):
        raise reject(f"{place}.text: Input should be a valid string")
    if not text.strip():
        raise reject(f"{place}: text content blocks must be non-empty")
    extra = block.keys() - {"type", "text", "cache_control", "citations"}
    if extra:
        raise reject(f"{place}.{min(extra)}: Extra inputs are not permitted")
    return {"type": "text", "text": text}


_CHECKS: Final[Mapping[str, Callable[[Json, str], object]]] = {
    "text": _text,
    "image": _check_image,
    "tool_use": _check_use,
    "tool_result": _check_result,
    "thinking": _check_thinking,
}
_UNCHECKED: Final = frozenset({"document", "redacted_thinking", "search_result"})


def _assistant(blocks: Sequence[Json]) -> Json:
    calls = [
        {"id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": block["input"]}}
        for block in blocks
        if block["type"] == "tool_use"
    ]
    message: Json = {"role": "assistant", "content": [_part(block) for block in blocks if block["type"] == "text"]}
    return {**message, "tool_calls": calls} if calls else message


def _user(blocks: Sequence[Json], place: str) -> list[Json]:
    results = [block for block in blocks if block["type"] == "tool_result"]
    others = [_part(block) for block in blocks if block["type"] != "tool_result"]
    turns: list[Json] = [
        {"role": "tool", "tool_call_id": block["tool_use_id"], "content": _result(block.get("content"), place)}
        for block in results
    ]
    return [*turns, {"role": "user", "content": others}] if others else turns


def _result(content: Any, place: str) -> Any:
    if not isinstance(content, list):
        return content or ""
    return [_part(block) for block in _list(content, place)]


def _part(block: Json) -> Json:
    if block["type"] == "text":
        return {"type": "text", "text": block["text"]}
    return {"type": {"image": "image_url", "document": "file"}.get(block["type"], block["type"])}


def _read_tools(request: Mapping[str, Any], question: Json) -> None:
    tools = request.get("tools")
    if tools is not None:
        question["tools"] = [_tool(tool, f"tools.{n}") for n, tool in enumerate(_list(tools, "tools"))]
    choice = request.get("tool_choice")
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in ("auto", "any", "tool", "none"):
        raise reject("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
    if not tools:
        raise reject("tool_choice: may only be specified while providing tools")
    if kind == "none" and "disable_parallel_tool_use" in choice:
        raise reject("tool_choice.none.disable_parallel_tool_use: Extra inputs are not permitted")
    named = {"type": "function", "function": {"name": choice.get("name")}}
    question["tool_choice"] = {"auto": "auto", "any": "required", "none": "none"}.get(kind, named)
    if "disable_parallel_tool_use" in choice:
        question["parallel_tool_calls"] = not choice["disable_parallel_tool_use"]


def _tool(tool: Json, place: str) -> Json:
    if tool.get("type", "custom") != "custom":
        raise reject(f"{place}: the simulated model has no tool of type '{tool['type']}'")
    if not _NAME.fullmatch(str(tool.get("name"))):
        raise reject(f"{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    schema = tool.get("input_schema")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise reject(f"{place}.custom.input_schema.type: Input should be 'object'")
    parameters = schema if schema.get("properties") else None
    return {"type": "function", "function": {"name": tool["name"], "parameters": parameters}}


def _read_thinking(request: Mapping[str, Any], question: Json) -> None:
    thinking = request.get("thinking")
    if thinking is not None and not isinstance(thinking, dict):
        raise reject("thinking: Input should be an object")
    if thinks(request):
        assert thinking is not None
        forced = question.get("tool_choice") not in (None, "auto", "none")
        if forced:
            raise reject("Thinking may not be enabled when tool_choice forces tool use.")
        if thinking["type"] == "enabled":
            budget = _count(thinking, "budget_tokens", "thinking.enabled.")
            if budget < _LEAST_BUDGET:
                raise reject(
                    f"thinking.enabled.budget_tokens: Input should be greater than or equal to {_LEAST_BUDGET}"
                )
            if budget >= question.get("max_completion_tokens", budget + 1):
                raise reject("`max_tokens` must be greater than `thinking.budget_tokens`.")
    effort = (request.get("output_config") or {}).get("effort")
    if effort is not None:
        question["reasoning_effort"] = effort


def _count(request: Mapping[str, Any], name: str, place: str = "") -> int:
    value = request.get(name)
    if value is None:
        raise reject(f"{place}{name}: Field required")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise reject(f"{place}{name}: Input should be a valid integer greater than 0")
    return value


def _range(request: Mapping[str, Any], name: str, most: float) -> None:
    value = request.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most):
        raise reject(f"{name}: range: 0..{most}")


def _list(value: Any, place: str) -> list[Json]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise reject(f"{place}: Input should be a valid list of objects")
    return value
