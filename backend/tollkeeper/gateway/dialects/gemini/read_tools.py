"""Gemini's `tools` and `toolConfig` as canonical ones. Functions are everybody's; of Google's own tools only the search is."""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.gemini.read_fields import Json, read_fields, read_list, read_text
from tollkeeper.gateway.dialects.gemini.read_parts import Told
from tollkeeper.gateway.dialects.gemini.read_schema import read_schema

_SEARCHES: Final = frozenset({"googleSearch", "googleSearchRetrieval"})
_OF_DECLARATIONS: Final = frozenset({"name", "description", "parameters", "parametersJsonSchema"})
_MODES: Final = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto"}


def read_tools(value: Any, body: Json, told: Told) -> None:
    tools: list[Json] = []
    for position, entry in enumerate(read_list(value, "tools")):
        where = f"tools[{position}]"
        for name, item in read_fields(entry, where).items():
            if item is None:
                continue
            if name == "functionDeclarations":
                place = f"{where}.functionDeclarations"
                for at, declaration in enumerate(read_list(item, place)):
                    tools.append(_declaration(declaration, f"{place}[{at}]", told))
            elif name in _SEARCHES:
                body["web_search_options"] = {}
                for setting in read_fields(item, f"{where}.{name}"):
                    told.leave_out(f"{where}.{name}.{setting}")
            else:
                # Its kind stays visible to whoever reckons what the call may cost.
                told.need(f"{where}.{name}")
                tools.append({"type": _snake(name)})
    if tools:
        body["tools"] = tools


def read_tool_config(value: Any, body: Json, told: Told) -> None:
    where = "toolConfig"
    config = read_fields(value, where)
    for name in config:
        if name != "functionCallingConfig":
            told.leave_out(f"{where}.{name}")
    if config.get("functionCallingConfig") is None:
        return
    where = f"{where}.functionCallingConfig"
    calling = read_fields(config["functionCallingConfig"], where)
    for name in calling:
        if name not in {"mode", "allowedFunctionNames"}:
            told.leave_out(f"{where}.{name}")
    mode = calling.get("mode")
    if mode is None or mode == "MODE_UNSPECIFIED":
        return
    word = _MODES.get(read_text(mode, f"{where}.mode").upper())
    if word is None:
        raise BadRequest(
            f"Invalid value for '{where}.mode': expected one of {', '.join(_MODES)}.",
            param=f"{where}.mode",
            code="invalid_value",
        )
    names = [
        read_text(name, f"{where}.allowedFunctionNames[{at}]")
        for at, name in enumerate(read_list(calling.get("allowedFunctionNames"), f"{where}.allowedFunctionNames"))
    ]
    # Without tools there is nothing to choose, which strict vendors refuse to hear.
    if body.get("tools"):
        body["tool_choice"] = _choice(word, names)


def _choice(word: str, names: list[str]) -> Any:
    if not names or word == "none":
        return word
    allowed = [{"type": "function", "function": {"name": name}} for name in names]
    if word == "required" and len(allowed) == 1:
        return allowed[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": word, "tools": allowed}}


def _declaration(value: Any, where: str, told: Told) -> Json:
    declaration = read_fields(value, where)
    function: Json = {"name": read_text(declaration.get("name"), f"{where}.name")}
    if declaration.get("description") is not None:
        function["description"] = read_text(declaration["description"], f"{where}.description")
    schema: Mapping[str, Any] | None = None
    if declaration.get("parametersJsonSchema") is not None:
        schema = declaration["parametersJsonSchema"]
        read_fields(schema, f"{where}.parametersJsonSchema")
    elif declaration.get("parameters") is not None:
        schema = read_schema(declaration["parameters"], f"{where}.parameters")
    if schema:
        function["parameters"] = schema
    for name in declaration:
        if name not in _OF_DECLARATIONS:
            told.leave_out(f"tools.functionDeclarations.{name}")
    return {"type": "function", "function": function}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[:64]
