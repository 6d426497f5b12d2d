"""JSON Schema (2020-12) that cannot be turned against whoever checks it.

Linear patterns, nothing fetched, no reference that leads back to itself in one place, a bounded number of steps. A keyword
that is not looked at here is refused when the schema is read, with its path: nothing is left unchecked in silence.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson
import re2

from tollkeeper.gateway.guardrails.json_schema.checking import TYPES, Check, TooCostly, canonical, escaped, is_number
from tollkeeper.gateway.guardrails.json_schema.formats import FORMATS

_LARGEST_BYTES: Final = 64 * 1024
_DEEPEST: Final = 64
_PATTERN_BYTES: Final = 256 << 10

_ANNOTATIONS: Final = frozenset(
    {"title", "description", "default", "examples", "$schema", "$comment", "deprecated", "readOnly", "writeOnly"}
)
_COUNTS: Final = frozenset(
    {
        "maxLength", "minLength", "maxItems", "minItems", "minContains", "maxContains", "maxProperties", "minProperties",
    }
)  # fmt: skip
_NUMBERS: Final = frozenset({"maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"})
# One schema for the value itself.
_SAME: Final = frozenset({"not", "if", "then", "else"})
# Several for the value itself.
_SAME_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf"})
_LISTS: Final = _SAME_LISTS | {"prefixItems"}
# One schema for what lies within.
_WITHIN: Final = frozenset({"items", "contains", "additionalProperties", "propertyNames"})
_NAMED: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
_OTHERS: Final = frozenset(
    {
        "type", "enum", "const", "multipleOf", "pattern", "uniqueItems", "required", "dependentRequired", "prefixItems",
        "format", "$ref",
    }
)  # fmt: skip
_KNOWN: Final = _ANNOTATIONS | _COUNTS | _NUMBERS | _SAME | _SAME_LISTS | _WITHIN | _NAMED | _OTHERS


class SchemaFault(ValueError):
    """What is wrong with a schema, and where."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path or '/'}: {why}")


class CompiledSchema:
    """`CompiledSchema(schema)`. Raises `SchemaFault`."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = schema
        self._patterns: dict[str, Any] = {}
        # By the identity of the schema that refers: the root holds them all.
        self._targets: dict[int, tuple[Any, str]] = {}
        self._values: dict[int, frozenset[Any]] = {}
        try:
            size = len(orjson.dumps(schema))
        except (TypeError, RecursionError):
            raise SchemaFault("", "is nested too deep, or no JSON") from None
        if size > _LARGEST_BYTES:
            raise SchemaFault("", f"has more than {_LARGEST_BYTES} bytes")
        self._read(schema, "", 0)
        self._refuse_circles(schema, "", {}, [])

    def fault(self, value: Any) -> str | None:
        """The place in the schema that it does not fit; None: it fits. Raises `TooCostly`."""
        try:
            return Check(self._patterns, self._targets, self._values).fault(self._root, value, "")
        except RecursionError:
            raise TooCostly from None

    # Reading

    def _read(self, schema: Any, path: str, depth: int) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, Mapping):
            raise SchemaFault(path, "a schema is an object, true or false")
        if depth > _DEEPEST:
            raise SchemaFault(path, f"is nested deeper than {_DEEPEST}")
        for key, value in schema.items():
            here = f"{path}/{escaped(key)}"
            if key not in _KNOWN:
                raise SchemaFault(here, "this keyword is not checked here")
            self._read_keyword(schema, key, value, here, depth)

    def _read_keyword(self, schema: Any, key: str, value: Any, here: str, depth: int) -> None:
        if key in _SAME or key in _WITHIN:
            if isinstance(value, list):
                raise SchemaFault(here, "a list of schemas is called prefixItems since 2020-12")
            self._read(value, here, depth + 1)
        elif key in _LISTS:
            if not isinstance(value, list) or not value:
                raise SchemaFault(here, "takes a list of schemas")
            for index, inner in enumerate(value):
                self._read(inner, f"{here}/{index}", depth + 1)
        elif key in _NAMED:
            self._read_named(key, value, here, depth)
        elif key == "$ref":
            self._targets[id(schema)] = self._resolve(value, here), value
        elif key not in _ANNOTATIONS:
            self._read_value(key, value, here)

    def _read_named(self, key: str, value: Any, here: str, depth: int) -> None:
        if not isinstance(value, Mapping):
            raise SchemaFault(here, "takes an object of schemas")
        for name, inner in value.items():
            if key == "patternProperties":
                self._pattern(name, f"{here}/{escaped(name)}")
            self._read(inner, f"{here}/{escaped(name)}", depth + 1)

    def _read_value(self, key: str, value: Any, here: str) -> None:
        if key == "pattern":
            self._pattern(value, here)
        elif key == "format":
            if value not in FORMATS:
                raise SchemaFault(
                    here, f"is not checked here; known are {', '.join(sorted(FORMATS))}, else use pattern"
                )
        elif (why := _shape_fault(key, value)) is not None:
            raise SchemaFault(here, why)
        elif key == "enum":
            self._values[id(value)] = frozenset(map(canonical, value))

    def _pattern(self, pattern: Any, here: str) -> None:
        if not isinstance(pattern, str):
            raise SchemaFault(here, "a pattern is a string")
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _PATTERN_BYTES
        try:
            self._patterns[pattern] = re2.compile(pattern, options)
        except re2.error as error:
            reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
            raise SchemaFault(here, f"{reason} (RE2 has no look-around and no back-references)") from None

    def _resolve(self, pointer: Any, here: str) -> Any:
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            raise SchemaFault(here, "only references within the schema are followed (#/$defs/…)")
        found: Any = self._root
        for step in pointer[2:].split("/") if pointer != "#" else ():
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            else:
                raise SchemaFault(here, "leads nowhere")
        if not isinstance(found, Mapping | bool):
            raise SchemaFault(here, "leads to no schema")
        return found

    def _refuse_circles(self, schema: Any, path: str, done: dict[int, bool], way: list[int]) -> None:
        """A schema that is applied to a value again and again without going into it would never end."""
        if not isinstance(schema, Mapping) or done.get(id(schema)):
            return
        if id(schema) in way:
            raise SchemaFault(path, "leads back to itself")
        if len(way) > _DEEPEST:
            raise SchemaFault(path, "refers too far")
        for inner, place in self._at_once(schema, path):
            self._refuse_circles(inner, place, done, [*way, id(schema)])
        done[id(schema)] = True
        for inner, place in _below(schema, path):
            self._refuse_circles(inner, place, done, [])

    def _at_once(self, schema: Mapping[str, Any], path: str) -> Iterator[tuple[Any, str]]:
        for key in _SAME & schema.keys():
            yield schema[key], f"{path}/{key}"
        for key in _SAME_LISTS & schema.keys():
            yield from ((inner, f"{path}/{key}/{index}") for index, inner in enumerate(schema[key]))
        for name, inner in schema.get("dependentSchemas", {}).items():
            yield inner, f"{path}/dependentSchemas/{escaped(name)}"
        if id(schema) in self._targets:
            yield self._targets[id(schema)][0], f"{path}/$ref"


def _below(schema: Mapping[str, Any], path: str) -> Iterator[tuple[Any, str]]:
    for key in _WITHIN & schema.keys():
        yield schema[key], f"{path}/{key}"
    for index, inner in enumerate(schema.get("prefixItems", ())):
        yield inner, f"{path}/prefixItems/{index}"
    for key in (_NAMED - {"dependentSchemas"}) & schema.keys():
        yield from ((inner, f"{path}/{key}/{escaped(name)}") for name, inner in schema[key].items())


def _shape_fault(key: str, value: Any) -> str | None:
    """Why a keyword's value is none."""
    is_good, why = _SHAPES[key]
    return None if is_good(value) else f"takes {why}"


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in TYPES for name in names)


_SHAPES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    **dict.fromkeys(_COUNTS, (_is_count, "a whole number from 0 on")),
    **dict.fromkeys(_NUMBERS, (is_number, "a number")),
    "multipleOf": (lambda value: is_number(value) and value > 0, "a number above 0"),
    "type": (_is_type, f"one of {', '.join(TYPES)}, or a list of them"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "a list of values"),
    "const": (lambda _value: True, "any value"),
    "required": (_is_names, "a list of names"),
    "dependentRequired": (
        lambda value: isinstance(value, Mapping) and all(map(_is_names, value.values())),
        "lists of names by a name",
    ),
    "uniqueItems": (lambda value: isinstance(value, bool), "true or false"),
}
