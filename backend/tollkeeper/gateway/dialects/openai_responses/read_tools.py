"""Tools of a Responses call: flat there, nested in the canonical form. Tools that the vendor runs stay as they are."""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.openai_fields import missing, wrong_type

_OWN: Final = frozenset({"function", "custom"})
_CHOICES: Final = frozenset({"none", "auto", "required"})
# Of a function beside its schema: how a vendor's own programs call it, which no other dialect knows.
_OF_VENDOR: Final = frozenset({"allowed_callers", "defer_loading", "output_schema", "async"})


def read_tools(tools: object) -> tuple[list[dict[str, Any]], str | None]:
    """The canonical tools, and the path of the first that only a vendor of this dialect has."""
    if not isinstance(tools, list):
        raise wrong_type("tools", "an array of objects", tools)
    needs: str | None = None
    read = []
    for position, tool in enumerate(tools):
        name = f"tools[{position}]"
        if not isinstance(tool, dict):
            raise wrong_type(name, "an object", tool)
        kind = tool.get("type")
        if kind is None:
            raise missing(f"{name}.type")
        if not isinstance(kind, str):
            raise wrong_type(f"{name}.type", "a string", kind)
        if kind not in _OWN:
            needs = needs or f"{name}.type"
            read.append(tool)
        else:
            read.append({"type": kind, kind: _function(tool, name) if kind == "function" else _custom(tool, name)})
    return read, needs


def _function(tool: Mapping[str, Any], name: str) -> dict[str, Any]:
    _read_name(tool, name)
    parameters = tool.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise wrong_type(f"{name}.parameters", "an object", parameters)
    return {
        key: value
        for key, value in tool.items()
        if key != "type" and key not in _OF_VENDOR and (value is not None or key not in {"parameters", "strict"})
    }


def _custom(tool: Mapping[str, Any], name: str) -> dict[str, Any]:
    _read_name(tool, name)
    custom = {key: value for key, value in tool.items() if key != "type" and key not in _OF_VENDOR}
    form = tool.get("format")
    if form is None:
        custom.pop("format", None)
    elif not isinstance(form, dict):
        raise wrong_type(f"{name}.format", "an object", form)
    elif form.get("type") == "grammar":
        custom["format"] = {"type": "grammar", "grammar": {key: form[key] for key in form if key != "type"}}
    return custom


def _read_name(tool: Mapping[str, Any], name: str) -> None:
    if tool.get("name") is None:
        raise missing(f"{name}.name")
    if not isinstance(tool["name"], str):
        raise wrong_type(f"{name}.name", "a string", tool["name"])


def read_tool_choice(choice: object) -> tuple[Any, str | None]:
    """The canonical choice, and its path where it names a tool that the vendor runs."""
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise BadRequest(
                "Invalid value for 'tool_choice': expected 'none', 'auto', 'required' or an object.",
                code="invalid_value",
                param="tool_choice",
            )
        return choice, None
    if not isinstance(choice, dict):
        raise wrong_type("tool_choice", "a string or an object", choice)
    kind = choice.get("type")
    if not isinstance(kind, str):
        raise wrong_type("tool_choice.type", "a string", kind)
    if kind in _OWN:
        _read_name(choice, "tool_choice")
        return {"type": kind, kind: {"name": choice["name"]}}, None
    if kind == "allowed_tools":
        return _allowed_tools(choice)
    return choice, "tool_choice.type"


def _allowed_tools(choice: Mapping[str, Any]) -> tuple[Any, str | None]:
    tools = choice.get("tools")
    if not isinstance(tools, list):
        raise wrong_type("tool_choice.tools", "an array of objects", tools)
    needs: str | None = None
    named: list[Any] = []
    for position, tool in enumerate(tools):
        name = f"tool_choice.tools[{position}]"
        if not isinstance(tool, dict):
            raise wrong_type(name, "an object", tool)
        kind = tool.get("type")
        if not isinstance(kind, str):
            raise wrong_type(f"{name}.type", "a string", kind)
        if kind in _OWN:
            _read_name(tool, name)
            named.append({"type": kind, kind: {"name": tool["name"]}})
        else:
            needs = needs or f"{name}.type"
            named.append(tool)
    mode = choice.get("mode", "auto")
    if not isinstance(mode, str):
        raise wrong_type("tool_choice.mode", "a string", mode)
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": named}}, needs
