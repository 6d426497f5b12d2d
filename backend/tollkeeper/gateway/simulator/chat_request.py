"""What the simulator needs to see in a chat request, checked as strictly as OpenAI would."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tollkeeper.gateway.simulator.refusal import Refusal, invalid

_ROLES: Final = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
_EFFORT_TOKENS: Final = {"none": 0, "minimal": 8, "low": 16, "medium": 32, "high": 64, "xhigh": 128, "max": 256}
_MOST_CHOICES = 128
_MOST_STOPS = 4


@dataclass(frozen=True, slots=True)
class Tool:
    """A function or a custom tool; `parameters` is the function's schema."""

    name: str
    parameters: Any
    is_custom: bool = False


def read_common(body: Mapping[str, Any]) -> None:
    """The fields that every operation with choices shares. Raises `Refusal`."""
    options = body.get("stream_options")
    if not isinstance(options, dict | None):
        raise invalid("stream_options", "an object")
    if options is not None and not body.get("stream"):
        raise Refusal(
            400,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
            code="invalid_value",
        )
    read_count(body, "n", least=1, most=_MOST_CHOICES)
    read_stops(body)


def read_messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if messages is None:
        raise missing("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "an array of at least one message")
    for position, message in enumerate(messages):
        place = f"messages[{position}]"
        if not isinstance(message, dict):
            raise invalid(place, "an object")
        if not isinstance(message.get("role"), str) or message["role"] not in _ROLES:
            raise invalid(f"{place}.role", "one of " + ", ".join(sorted(_ROLES)))
        if not isinstance(message.get("content"), str | list | None):
            raise invalid(f"{place}.content", "a string, an array of parts or null")
        _check_calls(message, place)
        if message["role"] == "tool" and not isinstance(message.get("tool_call_id"), str):
            raise missing(f"{place}.tool_call_id")
    return messages


def _check_calls(message: Mapping[str, Any], place: str) -> None:
    if not isinstance(message.get("name"), str | None):
        raise invalid(f"{place}.name", "a string")
    for call in read_list(message, "tool_calls", place + "."):
        if not (isinstance(call.get("function"), dict) or isinstance(call.get("custom"), dict)):
            raise invalid(f"{place}.tool_calls", "calls of functions or custom tools")


def read_tools(body: Mapping[str, Any]) -> list[Tool]:
    """The tools that may be called: all of them, or what `tool_choice` leaves."""
    tools = [_read_tool(tool, f"tools[{n}]") for n, tool in enumerate(read_list(body, "tools"))]
    choice = body.get("tool_choice")
    if not isinstance(choice, dict):
        return tools
    allowed = choice.get("allowed_tools")
    chosen = read_list(allowed, "tools", "tool_choice.") if isinstance(allowed, dict) else [choice]
    names = {_name_of(tool) for tool in chosen}
    left = [tool for tool in tools if tool.name in names]
    if not left:
        raise invalid("tool_choice", "a tool that stands in 'tools'")
    return left


def must_call(body: Mapping[str, Any]) -> bool | None:
    """True: a tool has to be called. False: none may be. None: the model decides."""
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        allowed = choice.get("allowed_tools")
        if isinstance(allowed, dict):
            return True if allowed.get("mode") == "required" else None
        return True
    return {"none": False, "required": True}.get(str(choice))


def read_functions(body: Mapping[str, Any]) -> list[Tool]:
    """The deprecated `functions`, as far as `function_call` leaves them."""
    functions = []
    for position, entry in enumerate(read_list(body, "functions")):
        if not isinstance(entry.get("name"), str):
            raise missing(f"functions[{position}].name")
        functions.append(Tool(entry["name"], entry.get("parameters")))
    choice = body.get("function_call")
    if isinstance(choice, dict):
        return [tool for tool in functions if tool.name == choice.get("name")]
    return [] if choice == "none" else functions


def read_list(body: Mapping[str, Any], name: str, place: str = "") -> list[dict[str, Any]]:
    """The objects of an optional array."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise invalid(place + name, "an array of objects")
    return value


def read_stops(body: Mapping[str, Any], most: int = _MOST_STOPS) -> list[str]:
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else [] if stop is None else stop
    if not isinstance(stops, list) or len(stops) > most or not all(isinstance(word, str) for word in stops):
        raise invalid("stop", f"a string or at most {most} strings")
    return [word for word in stops if word]


def read_cap(body: Mapping[str, Any]) -> int | None:
    caps = [read_count(body, name, least=1) for name in ("max_completion_tokens", "max_tokens")]
    return next((cap for cap in caps if cap is not None), None)


def read_count(body: Mapping[str, Any], name: str, *, least: int, most: int = 2**31) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise invalid(name, f"an integer from {least} to {most}")
    return value


def read_effort(body: Mapping[str, Any]) -> int:
    """Tokens of thinking."""
    effort = body.get("reasoning_effort") or "medium"
    if not isinstance(effort, str) or effort not in _EFFORT_TOKENS:
        raise invalid("reasoning_effort", "one of " + ", ".join(_EFFORT_TOKENS))
    return _EFFORT_TOKENS[effort]


def missing(name: str) -> Refusal:
    return Refusal(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def _read_tool(tool: Mapping[str, Any], place: str) -> Tool:
    kind = tool.get("type")
    inner = tool.get(kind) if isinstance(kind, str) else None
    if kind not in ("function", "custom") or not isinstance(inner, dict):
        raise invalid(place, "a function or a custom tool")
    name = inner.get("name")
    if not isinstance(name, str) or not name:
        raise missing(f"{place}.{kind}.name")
    return Tool(name, inner.get("parameters"), is_custom=kind == "custom")


def _name_of(tool: Mapping[str, Any]) -> str | None:
    """The name inside `{"type": "function", "function": {"name": …}}` or its custom twin."""
    inner = tool.get(str(tool.get("type")))
    name = inner.get("name") if isinstance(inner, dict) else None
    return name if isinstance(name, str) else None
