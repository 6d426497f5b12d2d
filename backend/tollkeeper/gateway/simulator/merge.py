"""Puts two JSON Schemas together into one that asks for both, as `allOf` means it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from tollkeeper.gateway.simulator.unfit import UnfitSchema

_LARGER: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_SMALLER: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_MOST_BRANCHES = 1000


class Contradiction(UnfitSchema):
    """Two parts of a schema cannot hold at once."""


def merge(one: Any, other: Any) -> Any:
    """Raises `Contradiction`."""
    if one is True:
        return other
    if other is True:
        return one
    if not isinstance(one, dict) or not isinstance(other, dict):
        raise Contradiction("a schema that accepts nothing is required")
    merged = dict(one)
    for name, value in other.items():
        merged[name] = _both(name, merged[name], value) if name in merged else value
    return merged


def _both(name: str, one: Any, other: Any) -> Any:
    if one == other:
        return one
    if name in _LARGER:
        return max(one, other)
    if name in _SMALLER:
        return min(one, other)
    return _WAYS.get(name, _nearer)(one, other)


def _union(one: list[Any], other: list[Any]) -> list[Any]:
    return [*one, *(entry for entry in other if entry not in one)]


def _properties(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    shared = {name: merge(one[name], other[name]) for name in one if name in other}
    return {**one, **other, **shared}


def _schema(one: Any, other: Any) -> Any:
    return False if one is False or other is False else merge(one, other)


def _enum(one: list[Any], other: list[Any]) -> list[Any]:
    return _common([entry for entry in one if entry in other])


def _type(one: Any, other: Any) -> Any:
    left = one if isinstance(one, list) else [one]
    right = other if isinstance(other, list) else [other]
    both = [kind for kind in left if kind in right]
    if not both and {"integer", "number"} <= {*left, *right}:
        both = ["integer"]
    found = _common(both)
    return found[0] if len(found) == 1 else found


def _alternatives(one: list[Any], other: list[Any]) -> list[Any]:
    """Each pair of one branch of either side."""
    if len(one) * len(other) > _MOST_BRANCHES:
        raise Contradiction("its alternatives multiply beyond bounds")
    return [branch for left in one for right in other for branch in _pair(left, right)]


def _pair(one: Any, other: Any) -> list[Any]:
    try:
        return [merge(one, other)]
    except Contradiction:
        return []


def _const(_one: Any, _other: Any) -> Any:
    raise Contradiction("two different constants are required")


def _nearer(_one: Any, other: Any) -> Any:
    """Descriptions, formats, patterns: the nearer one is kept."""
    return other


def _common(entries: list[Any]) -> list[Any]:
    if not entries:
        raise Contradiction("no value is in both of its lists")
    return entries


_WAYS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "required": _union,
    "properties": _properties,
    "items": _schema,
    "additionalProperties": _schema,
    "propertyNames": _schema,
    "enum": _enum,
    "type": _type,
    "anyOf": _alternatives,
    "oneOf": _alternatives,
    "const": _const,
    "uniqueItems": lambda one, other: one or other,
}
