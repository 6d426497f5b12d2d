"""Gemini's `Schema`, a part of OpenAPI's with types in capitals, as JSON Schema."""

from typing import Any, Final

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.gemini.read_fields import Json, read_fields, read_list, read_text
from tollkeeper.gateway.openai_fields import wrong_type

_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
# 64-bit integers, which Google's JSON writes as strings.
_COUNTS: Final = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_INNER: Final = frozenset({"items", "additionalProperties"})
_MAPPED: Final = frozenset({"properties", "defs", "$defs"})
_RENAMED: Final = {"defs": "$defs", "ref": "$ref"}
_OF_GOOGLE: Final = frozenset({"nullable", "propertyOrdering"})


def read_schema(value: Any, where: str) -> Json:
    """The nesting was bounded when the body was read."""
    schema = read_fields(value, where)
    found: Json = {}
    for name, item in schema.items():
        if item is not None:
            _read(name, item, found, f"{where}.{name}")
    if schema.get("nullable") is True:
        _allow_null(found)
    return found


def _read(name: str, item: Any, found: Json, where: str) -> None:
    if name == "type":
        if (kind := _type(item, where)) is not None:
            found["type"] = kind
    elif name in _COUNTS:
        found[name] = int(item) if isinstance(item, str) and item.isascii() and item.isdigit() else item
    elif name in _INNER and isinstance(item, dict):
        found[name] = read_schema(item, where)
    elif name == "anyOf":
        found[name] = [read_schema(one, f"{where}[{at}]") for at, one in enumerate(read_list(item, where))]
    elif name in _MAPPED:
        if not isinstance(item, dict):
            raise wrong_type(where, "an object", item)
        # Names of properties are the caller's own, whatever is in them.
        found[_RENAMED.get(name, name)] = {key: read_schema(one, f"{where}.{key[:64]}") for key, one in item.items()}
    elif name == "example":
        found["examples"] = [item]
    elif name not in _OF_GOOGLE and not (name == "format" and item == "enum"):
        found[_RENAMED.get(name, name)] = item


def _type(item: Any, where: str) -> str | None:
    kind = read_text(item, where).lower()
    if kind in _TYPES:
        return kind
    if kind != "type_unspecified":
        raise BadRequest(f"Invalid value for '{where}': no type of that name.", param=where, code="invalid_value")
    return None


def _allow_null(found: Json) -> None:
    kind: Any = found.get("type")
    if isinstance(kind, str):
        found["type"] = [kind, "null"]
        values = found.get("enum")
        if isinstance(values, list) and None not in values:
            found["enum"] = [*values, None]
    elif isinstance(options := found.get("anyOf"), list):
        found["anyOf"] = [*options, {"type": "null"}]
