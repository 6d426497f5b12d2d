"""JSON schemas as Anthropic's structured outputs take them.

They know a part of JSON Schema and refuse the rest: what a schema says beyond it goes into the description, where the
model reads it. The rules are those of Anthropic's own SDKs ("Structured outputs", 2026-11).
"""

from typing import Any, Final

import orjson

from tollkeeper.core.errors import BadRequest

# A tuple: what stands there may be anything.
_FORMATS: Final = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_KEPT: Final = ("enum", "const", "description", "title")
_VARIANTS: Final = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
_DEEPEST: Final = 64


def strict_schema(schema: object, where: str) -> dict[str, Any]:
    """`where` names it in errors."""
    if not isinstance(schema, dict):
        raise _refusal(where)
    return _strict(schema, where, 0)


def _strict(schema: object, where: str, depth: int) -> dict[str, Any]:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        raise _refusal(where)
    left = dict(schema)
    left.pop("$schema", None)
    strict: dict[str, Any] = {}
    for name in ("$defs", "definitions"):
        if isinstance(left.get(name), dict):
            strict[name] = {key: _strict(value, where, depth + 1) for key, value in left.pop(name).items()}
    if "$ref" in left:
        return {**strict, "$ref": left["$ref"]}
    strict |= {name: left.pop(name) for name in _KEPT if name in left}
    kind = left.pop("type", None)
    if (variants := next((name for name in _VARIANTS if isinstance(left.get(name), list)), None)) is not None:
        strict[_VARIANTS[variants]] = [_strict(variant, where, depth + 1) for variant in left.pop(variants)]
    elif kind is not None:
        strict["type"] = kind
    kinds = kind if isinstance(kind, list) else [kind]
    if "object" in kinds or "properties" in left:
        _object(left, strict, where, depth)
    if "array" in kinds:
        _array(left, strict, where, depth)
    _describe(left, strict)
    return strict


def _describe(left: dict[str, Any], strict: dict[str, Any]) -> None:
    """In words, in the place of what would be refused."""
    if left.get("format") in _FORMATS:
        strict["format"] = left.pop("format")
    if not left:
        return
    rest = "{" + ", ".join(f"{name}: {orjson.dumps(value).decode()}" for name, value in left.items()) + "}"
    known = strict.get("description")
    strict["description"] = f"{known}\n\n{rest}" if isinstance(known, str) and known else rest


def _object(left: dict[str, Any], strict: dict[str, Any], where: str, depth: int) -> None:
    properties = left.pop("properties", None)
    if isinstance(properties, dict):
        strict["properties"] = {name: _strict(value, where, depth + 1) for name, value in properties.items()}
    left.pop("additionalProperties", None)
    strict["additionalProperties"] = False
    if isinstance(left.get("required"), list):
        strict["required"] = left.pop("required")


def _array(left: dict[str, Any], strict: dict[str, Any], where: str, depth: int) -> None:
    if isinstance(left.get("items"), dict):
        strict["items"] = _strict(left.pop("items"), where, depth + 1)
    if type(left.get("minItems")) is int and left["minItems"] in {0, 1}:
        strict["minItems"] = left.pop("minItems")


def _refusal(where: str) -> BadRequest:
    return BadRequest(f"Invalid '{where}': expected a JSON schema.", param=where, code="invalid_value")
