"""Holds one value against a schema that has been read. Every step is counted, so that no answer takes for ever."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from tollkeeper.gateway.guardrails.json_schema.formats import FORMATS

_MOST_STEPS: Final = 300_000


class TooCostly(Exception):
    """To judge this answer takes more steps than it may."""


class Check:
    """One value. Each method gives back the place in the schema that does not hold."""

    def __init__(
        self,
        patterns: Mapping[str, Any],
        targets: Mapping[int, tuple[Any, str]],
        values: Mapping[int, frozenset[Any]],
    ) -> None:
        self._patterns = patterns
        self._targets = targets
        self._values = values
        self._left = _MOST_STEPS
        # By identity, as large values are compared again and again.
        self._canonicals: dict[int, Any] = {}

    def fault(self, schema: Any, value: Any, path: str) -> str | None:
        self._step()
        if isinstance(schema, bool):
            return None if schema else path or "/"
        for key, wanted in schema.items():
            check = _CHECKS.get(key)
            if check is not None and not check(wanted, value):
                return f"{path}/{key}"
        if "enum" in schema and self._canonical(value) not in self._values[id(schema["enum"])]:
            return f"{path}/enum"
        if "const" in schema and self._canonical(value) != canonical(schema["const"]):
            return f"{path}/const"
        return self._same(schema, value, path) or self._within(schema, value, path)

    def _step(self, count: int = 1) -> None:
        self._left -= count
        if self._left < 0:
            raise TooCostly

    def _canonical(self, value: Any) -> Any:
        found = self._canonicals.get(id(value))
        if found is None:
            found = self._canonicals[id(value)] = value, canonical(value)
        return found[1]

    def _same(self, schema: Mapping[str, Any], value: Any, path: str) -> str | None:
        if id(schema) in self._targets:
            target, pointer = self._targets[id(schema)]
            if (fault := self.fault(target, value, pointer)) is not None:
                return fault
        for index, inner in enumerate(schema.get("allOf", ())):
            if (fault := self.fault(inner, value, f"{path}/allOf/{index}")) is not None:
                return fault
        return self._chosen(schema, value, path)

    def _chosen(self, schema: Mapping[str, Any], value: Any, path: str) -> str | None:
        if "anyOf" in schema and not any(self._fits(inner, value) for inner in schema["anyOf"]):
            return f"{path}/anyOf"
        if "oneOf" in schema and sum(self._fits(inner, value) for inner in schema["oneOf"]) != 1:
            return f"{path}/oneOf"
        if "not" in schema and self._fits(schema["not"], value):
            return f"{path}/not"
        if "if" in schema:
            branch = "then" if self._fits(schema["if"], value) else "else"
            if branch in schema:
                return self.fault(schema[branch], value, f"{path}/{branch}")
        return None

    def _fits(self, schema: Any, value: Any) -> bool:
        return self.fault(schema, value, "") is None

    def _within(self, schema: Mapping[str, Any], value: Any, path: str) -> str | None:
        if isinstance(value, str):
            return self._of_text(schema, value, path)
        if isinstance(value, list):
            return self._of_list(schema, value, path)
        return self._of_object(schema, value, path) if isinstance(value, dict) else None

    def _of_text(self, schema: Mapping[str, Any], text: str, path: str) -> str | None:
        if "pattern" in schema and self._patterns[schema["pattern"]].search(_utf8(text)) is None:
            return f"{path}/pattern"
        if "format" in schema and not FORMATS[schema["format"]](text):
            return f"{path}/format"
        return None

    def _of_list(self, schema: Mapping[str, Any], values: list[Any], path: str) -> str | None:
        first = schema.get("prefixItems", ())
        for index, (inner, value) in enumerate(zip(first, values, strict=False)):
            if (fault := self.fault(inner, value, f"{path}/prefixItems/{index}")) is not None:
                return fault
        if "items" in schema:
            for value in values[len(first) :]:
                if (fault := self.fault(schema["items"], value, f"{path}/items")) is not None:
                    return fault
        if "contains" in schema:
            count = sum(self._fits(schema["contains"], value) for value in values)
            if not schema.get("minContains", 1) <= count <= schema.get("maxContains", len(values)):
                return f"{path}/contains"
        if schema.get("uniqueItems"):
            self._step(len(values))
            if len({self._canonical(value) for value in values}) < len(values):
                return f"{path}/uniqueItems"
        return None

    def _of_object(self, schema: Mapping[str, Any], value: dict[str, Any], path: str) -> str | None:
        named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, inner in value.items():
            fault = self._of_property(schema, name, inner, path, named, patterns)
            if fault is not None:
                return fault
        for name, others in schema.get("dependentRequired", {}).items():
            if name in value and not value.keys() >= set(others):
                return f"{path}/dependentRequired"
        for name, inner in schema.get("dependentSchemas", {}).items():
            place = f"{path}/dependentSchemas/{escaped(name)}"
            if name in value and (fault := self.fault(inner, value, place)) is not None:
                return fault
        return None

    def _of_property(
        self, schema: Mapping[str, Any], name: str, inner: Any, path: str, named: Any, patterns: Any
    ) -> str | None:
        self._step()
        is_named = name in named
        if is_named and (fault := self.fault(named[name], inner, f"{path}/properties/{escaped(name)}")) is not None:
            return fault
        for pattern, wanted in patterns.items():
            self._step()
            if self._patterns[pattern].search(_utf8(name)) is not None:
                is_named = True
                place = f"{path}/patternProperties/{escaped(pattern)}"
                if (fault := self.fault(wanted, inner, place)) is not None:
                    return fault
        if not is_named and "additionalProperties" in schema:
            fault = self.fault(schema["additionalProperties"], inner, f"{path}/additionalProperties")
            if fault is not None:
                return fault
        if "propertyNames" in schema:
            return self.fault(schema["propertyNames"], name, f"{path}/propertyNames")
        return None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_of_type(names: Any, value: Any) -> bool:
    return any(TYPES[name](value) for name in (names if isinstance(names, list) else (names,)))


TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": is_number,
    "integer": lambda value: is_number(value) and (isinstance(value, int) or value.is_integer()),
}


def canonical(value: Any) -> Any:
    """Equal where JSON's values are: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return "object", frozenset((name, canonical(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return "array", tuple(map(canonical, value))
    return (isinstance(value, bool), value)


def _is_multiple(of: Any, value: Any) -> bool:
    return not is_number(value) or Decimal(str(value)) % Decimal(str(of)) == 0


def _number(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda wanted, value: not is_number(value) or holds(value, wanted)


def _sized(kind: type[Any], holds: Callable[[int, int], bool]) -> Callable[[Any, Any], bool]:
    return lambda wanted, value: not isinstance(value, kind) or holds(len(value), wanted)


# What holds of a value without looking at other schemas.
_CHECKS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "type": _is_of_type,
    "multipleOf": _is_multiple,
    "maximum": _number(lambda value, wanted: value <= wanted),
    "exclusiveMaximum": _number(lambda value, wanted: value < wanted),
    "minimum": _number(lambda value, wanted: value >= wanted),
    "exclusiveMinimum": _number(lambda value, wanted: value > wanted),
    "maxLength": _sized(str, lambda size, most: size <= most),
    "minLength": _sized(str, lambda size, least: size >= least),
    "maxItems": _sized(list, lambda size, most: size <= most),
    "minItems": _sized(list, lambda size, least: size >= least),
    "maxProperties": _sized(dict, lambda size, most: size <= most),
    "minProperties": _sized(dict, lambda size, least: size >= least),
    "required": lambda names, value: not isinstance(value, dict) or all(name in value for name in names),
}


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
