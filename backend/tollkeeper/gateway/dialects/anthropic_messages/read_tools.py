"""Anthropic's tools and how they may be chosen → the canonical form's.

Tools that Anthropic runs, or that only its models know (`bash_…`, `text_editor_…`), stay as they are: no other vendor
has them.
"""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.canonical import FULL_NAME
from tollkeeper.gateway.dialects.anthropic_messages.read_blocks import (
    find_flag,
    find_object,
    find_text,
    read_inner,
    read_text,
)
from tollkeeper.gateway.dialects.anthropic_messages.read_messages import Reading
from tollkeeper.gateway.dialects.anthropic_messages.vendor_names import LONGEST_NAME, fit_name
from tollkeeper.gateway.openai_fields import wrong_type

_EXPRESSED: Final = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})
_CHOICES: Final[Mapping[str, str]] = {"auto": "auto", "any": "required", "none": "none"}


def read_tools(value: Any, reading: Reading) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise wrong_type("tools", "an array of objects", value)
    return [_read_tool(tool, f"tools[{position}]", reading) for position, tool in enumerate(value)]


def _read_tool(tool: Any, path: str, reading: Reading) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise wrong_type(path, "an object", tool)
    if find_text(tool, "type", path) not in {None, "custom"}:
        reading.need(f"{path}.type")
        return {name: value for name, value in tool.items() if name != FULL_NAME}
    name = read_text(tool, "name", path)
    function: dict[str, Any] = {"name": fit_name(name) if len(name) > LONGEST_NAME else name}
    if (description := find_text(tool, "description", path)) is not None:
        function["description"] = description
    function["parameters"] = read_inner(tool, "input_schema", path)
    if (strict := find_flag(tool, "strict", path)) is not None:
        function["strict"] = strict
    read: dict[str, Any] = {"type": "function", "function": function}
    if function["name"] is not name:
        # Elsewhere names are half as long as here; the answer has the caller's again.
        read[FULL_NAME] = name
    if (mark := find_object(tool, "cache_control", path)) is not None:
        read["cache_control"] = mark
    if not tool.keys() <= _EXPRESSED:
        reading.unexpressed |= dict.fromkeys(f"tools.{name}" for name in sorted(tool.keys() - _EXPRESSED))
    return read


def read_tool_choice(value: Any) -> dict[str, Any]:
    """The canonical fields it becomes."""
    if not isinstance(value, dict):
        raise wrong_type("tool_choice", "an object", value)
    kind = read_text(value, "type", "tool_choice")
    fields: dict[str, Any] = {}
    if kind == "tool":
        name = read_text(value, "name", "tool_choice")
        name = fit_name(name) if len(name) > LONGEST_NAME else name
        fields["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif kind in _CHOICES:
        fields["tool_choice"] = _CHOICES[kind]
    else:
        raise BadRequest(
            "Invalid value for 'tool_choice.type': expected 'auto', 'any', 'tool' or 'none'.",
            param="tool_choice.type",
            code="invalid_value",
        )
    if find_flag(value, "disable_parallel_tool_use", "tool_choice") and kind != "none":
        fields["parallel_tool_calls"] = False
    return fields
