"""Tools of a canonical call as Converse's `toolConfig`, and the tool that answers for models without schemas."""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.bedrock_converse.models import Traits
from tollkeeper.gateway.dialects.bedrock_converse.names import ANSWER_TOOL, answers_by_tool, fit
from tollkeeper.gateway.dialects.bedrock_converse.turns import cache_point
from tollkeeper.gateway.openai_fields import wrong_type

_NO_ARGUMENTS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_BY_TOOL: Final = "Gives the answer to the user, in the form that was asked for."


def tool_config(body: Mapping[str, Any], traits: Traits, *, has_tool_turns: bool) -> dict[str, Any] | None:
    """None for a call without tools; one whose turns hold calls of tools keeps them whatever its choice."""
    choice = body.get("tool_choice")
    given = body.get("tools")
    tools: list[dict[str, Any]] = []
    for position, tool in enumerate(given if isinstance(given, list) else ()):
        tools.append(_tool(tool, traits, f"tools[{position}]"))
        if traits.caches and (point := cache_point(tool.get("cache_control"))) is not None:
            tools.append(point)
    wanted = _choice(choice)
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        tools = _allowed(choice, tools)
    if choice == "none" and not has_tool_turns:
        tools, wanted = [], None
    if answers_by_tool(body) and not traits.has_schemas:
        tools.append({"toolSpec": _answer_tool(body)})
        if wanted is None or "tool" not in wanted:
            wanted = {"any": {}} if len(tools) > 1 else {"tool": {"name": ANSWER_TOOL}}
    if not tools:
        return None
    return {"tools": tools} if wanted is None else {"tools": tools, "toolChoice": wanted}


def schema_of(body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any], str | None]:
    """Name, schema and description of a `response_format` of type json_schema."""
    inner = body["response_format"].get("json_schema")
    if not isinstance(inner, dict):
        raise wrong_type("response_format.json_schema", "an object", inner)
    schema = inner.get("schema") or _NO_ARGUMENTS
    if not isinstance(schema, dict):
        raise wrong_type("response_format.json_schema.schema", "an object", schema)
    name, description = inner.get("name"), inner.get("description")
    return (
        name if isinstance(name, str) and name else "answer",
        schema,
        description if isinstance(description, str) and description else None,
    )


def _tool(tool: Mapping[str, Any], traits: Traits, where: str) -> dict[str, Any]:
    inner = tool.get("function")
    if tool.get("type", "function") != "function":
        raise BadRequest(
            f"Invalid '{where}.type': Bedrock knows functions only.",
            param=f"{where}.type",
            code="unsupported_parameter",
        )
    if not isinstance(inner, dict):
        raise wrong_type(f"{where}.function", "an object", inner)
    name, description, parameters = (inner.get(field) for field in ("name", "description", "parameters"))
    if not isinstance(name, str) or not name:
        raise wrong_type(f"{where}.function.name", "a string", name)
    if parameters is None:
        parameters = _NO_ARGUMENTS
    if not isinstance(parameters, dict):
        raise wrong_type(f"{where}.function.parameters", "an object", parameters)
    if parameters.get("type") != "object":
        parameters = {**parameters, "type": "object"}
    spec: dict[str, Any] = {"name": fit(name), "inputSchema": {"json": parameters}}
    if isinstance(description, str) and description.strip():
        spec["description"] = description
    if inner.get("strict") is True and traits.has_schemas:
        spec["strict"] = True
    return {"toolSpec": spec}


def _choice(choice: object) -> dict[str, Any] | None:
    if choice is None or choice in ("auto", "none"):
        return None
    if choice == "required":
        return {"any": {}}
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function":
        inner = choice.get("function")  # type: ignore[attr-defined]
        name = inner.get("name") if isinstance(inner, dict) else None
        if not isinstance(name, str) or not name:
            raise wrong_type("tool_choice.function.name", "a string", name)
        return {"tool": {"name": fit(name)}}
    if kind == "allowed_tools":
        inner = choice.get("allowed_tools")  # type: ignore[attr-defined]
        return {"any": {}} if isinstance(inner, dict) and inner.get("mode") == "required" else None
    raise BadRequest(
        "Invalid 'tool_choice': Bedrock knows auto, none, required, a function's name and allowed_tools.",
        param="tool_choice",
        code="unsupported_parameter",
    )


def _allowed(choice: Mapping[str, Any], tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    inner = choice.get("allowed_tools")
    listed = inner.get("tools") if isinstance(inner, dict) else None
    if not isinstance(listed, list):
        raise wrong_type("tool_choice.allowed_tools.tools", "an array", listed)
    names = set()
    for one in listed:
        function = one.get("function") if isinstance(one, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str):
            names.add(fit(name))
    return [tool for tool in tools if "toolSpec" in tool and tool["toolSpec"]["name"] in names]


def _answer_tool(body: Mapping[str, Any]) -> dict[str, Any]:
    _, schema, description = schema_of(body)
    if schema.get("type") != "object":
        schema = {**schema, "type": "object"}
    return {"name": ANSWER_TOOL, "description": description or _BY_TOOL, "inputSchema": {"json": schema}}
