"""Tools of a canonical call, and which of them is to be used, as Anthropic says it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.anthropic_messages.vendor_blocks import cache_mark
from tollkeeper.gateway.dialects.anthropic_messages.vendor_models import Kind
from tollkeeper.gateway.dialects.anthropic_messages.vendor_names import fit_name
from tollkeeper.gateway.dialects.anthropic_messages.vendor_schema import strict_schema
from tollkeeper.gateway.openai_fields import missing, wrong_type

Tool = dict[str, Any]

_NO_ARGUMENTS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_WORDS: Final = {"auto": "auto", "none": "none", "required": "any"}
_OWN_CHOICES: Final = frozenset({"auto", "any", "tool", "none"})


def tools_of(body: Mapping[str, Any], kind: Kind, called: Sequence[str]) -> list[Tool]:
    """`called`: the names in the history. Anthropic refuses a history whose calls have no tools to them."""
    tools = [_tool(tool, kind, f"tools[{position}]") for position, tool in enumerate(body.get("tools") or ())]
    if not tools:
        return [{"name": name, "input_schema": _NO_ARGUMENTS} for name in called]
    allowed = _allowed(body.get("tool_choice"))
    if allowed is not None:
        tools = [tool for tool in tools if tool.get("name") in allowed]
    return tools


def choice_of(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """None: Anthropic's own default, which is to leave it to the model."""
    if not body.get("tools"):
        # There for the history's sake alone.
        return {"type": "none"}
    choice = _choice(body.get("tool_choice"))
    if body.get("parallel_tool_calls") is False:
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice = {**choice, "disable_parallel_tool_use": True}
    return choice


def is_forced(body: Mapping[str, Any]) -> bool:
    """Whether the model has to call a tool: it cannot think before that."""
    if not body.get("tools"):
        return False
    choice = _choice(body.get("tool_choice"))
    return choice is not None and choice["type"] in {"any", "tool"}


def _tool(tool: Tool, kind: Kind, where: str) -> Tool:
    inner = tool.get("function")
    if not isinstance(inner, dict):
        if isinstance(tool.get("name"), str) and ("input_schema" in tool or tool.get("type") not in {None, "function"}):
            return {**tool, "name": fit_name(tool["name"])} if "input_schema" in tool else tool
        if isinstance(tool.get("type"), str) and tool["type"] not in {"function", "custom"}:
            return tool
        if tool.get("type") == "custom":
            raise BadRequest(
                f"Invalid '{where}': Anthropic has no tools with free text as input; use a function.",
                param=where,
                code="unsupported_parameter",
            )
        raise missing(f"{where}.function")
    name = inner.get("name")
    if not isinstance(name, str) or not name:
        raise (
            missing(f"{where}.function.name")
            if name is None
            else wrong_type(f"{where}.function.name", "a string", name)
        )
    is_strict = inner.get("strict") is True and kind.has_schemas
    schema = _input_schema(inner.get("parameters"), f"{where}.function.parameters", is_strict=is_strict)
    written: Tool = {"name": fit_name(name), "input_schema": schema}
    if isinstance(inner.get("description"), str) and inner["description"]:
        written["description"] = inner["description"]
    if is_strict:
        written["strict"] = True
    mark = cache_mark(tool) or cache_mark(inner)
    if mark is not None:
        written["cache_control"] = mark
    return written


def _input_schema(schema: Any, where: str, *, is_strict: bool) -> Mapping[str, Any]:
    if not schema and (schema is None or isinstance(schema, dict)):
        return {**_NO_ARGUMENTS, "additionalProperties": False} if is_strict else _NO_ARGUMENTS
    if not isinstance(schema, dict):
        raise wrong_type(where, "an object", schema)
    if schema.get("type") != "object":
        schema = {**schema, "type": "object"}
    return strict_schema(schema, where) if is_strict else schema


def _choice(choice: Any) -> dict[str, Any] | None:
    if choice is None:
        return None
    if isinstance(choice, str) and choice in _WORDS:
        return None if choice == "auto" else {"type": _WORDS[choice]}
    kind = choice.get("type") if isinstance(choice, dict) else None
    if not isinstance(kind, str):
        kind = ""
    if kind in {"function", "custom"}:
        inner = choice.get(kind)
        name = inner.get("name") if isinstance(inner, dict) else choice.get("name")
        if isinstance(name, str) and name:
            return {"type": "tool", "name": fit_name(name)}
    elif kind == "allowed_tools":
        inner = choice.get("allowed_tools")
        mode = (inner if isinstance(inner, dict) else choice).get("mode")
        return {"type": "any"} if mode == "required" else None
    elif kind in _OWN_CHOICES and (kind != "tool" or isinstance(choice.get("name"), str)):
        return {**choice, "name": fit_name(choice["name"])} if kind == "tool" else dict(choice)
    raise BadRequest(
        "Invalid value for 'tool_choice': expected 'none', 'auto', 'required' or a tool that is named.",
        param="tool_choice",
        code="invalid_value",
    )


def _allowed(choice: Any) -> frozenset[str] | None:
    """The tools that `allowed_tools` leaves; None where it is not used."""
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return None
    inner = choice.get("allowed_tools")
    tools = (inner if isinstance(inner, dict) else choice).get("tools")
    names = set()
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            names.add(fit_name(function["name"]))
    if not names:
        raise BadRequest("Invalid 'tool_choice': no tool is allowed.", param="tool_choice", code="invalid_value")
    return frozenset(names)
