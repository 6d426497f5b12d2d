"""Makes a value that a JSON Schema accepts: what a model with structured output would answer.

Understands types, enum, const, properties, required, additionalProperties, propertyNames, items, prefixItems, contains,
bounds of every kind, pattern, the usual formats, anyOf, oneOf, allOf, `nullable` and local `$ref`s, recursive ones
included. `not`, `if` and `dependentSchemas` are left out of account. The work is bounded whatever the schema.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from tollkeeper.gateway.simulator import prose
from tollkeeper.gateway.simulator.dice import Dice
from tollkeeper.gateway.simulator.merge import Contradiction, merge
from tollkeeper.gateway.simulator.numbers import make_number
from tollkeeper.gateway.simulator.patterns import write_matching
from tollkeeper.gateway.simulator.unfit import UnfitSchema

Schema = Any

_NODES = 20_000
_DEEPEST = 60
# Below this the simplest way is taken: optional properties are left out, null is preferred, lists are short.
_SHALLOW = 4
_LONGEST = 100_000
_TRIES = 20
_SIMPLE: Final = frozenset({"null", "boolean", "integer", "number", "string"})
# Which type a schema means that does not say it.
_TELLING: Final = {
    "object": frozenset({"properties", "additionalProperties", "required", "propertyNames", "minProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "contains"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
}
_FORMATS: Final[Mapping[str, Callable[[Dice], str]]] = {
    "date-time": lambda d: f"2026-{d.between(1, 12):02}-{d.between(1, 28):02}T{d.below(24):02}:{d.below(60):02}:00Z",
    "date": lambda d: f"2026-{d.between(1, 12):02}-{d.between(1, 28):02}",
    "time": lambda d: f"{d.below(24):02}:{d.below(60):02}:{d.below(60):02}Z",
    "duration": lambda d: f"PT{d.between(1, 59)}M",
    "email": lambda d: f"person{d.below(1000)}@example.com",
    "idn-email": lambda d: f"person{d.below(1000)}@example.com",
    "hostname": lambda d: f"host{d.below(1000)}.example.com",
    "ipv4": lambda d: f"192.0.2.{d.between(1, 254)}",
    "ipv6": lambda d: f"2001:db8::{d.between(1, 0xFFFF):x}",
    "uri": lambda d: f"https://example.com/{d.below(1000)}",
    "uri-reference": lambda d: f"/{d.below(1000)}",
    "iri": lambda d: f"https://example.com/{d.below(1000)}",
    "uuid": lambda d: (
        f"{d.below(2**32):08x}-{d.below(2**16):04x}-4{d.below(2**12):03x}-8{d.below(2**12):03x}-{d.below(2**48):012x}"
    ),
}


class _TooDeep(UnfitSchema):
    """This branch does not end; another may."""


def make_value(schema: Schema, dice: Dice) -> Any:
    """Raises `UnfitSchema` with the reason."""
    try:
        value = _Maker(schema, dice).make(schema, 0)
        orjson.dumps(value)
    except UnfitSchema:
        raise
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        # Nobody checked the schema's own shape, and no value can be made where it says `"minItems": "two"`.
        raise UnfitSchema(f"the schema is malformed ({error})") from error
    return value


class _Maker:
    def __init__(self, root: Schema, dice: Dice) -> None:
        self._root = root
        self._dice = dice
        self._nodes = 0

    def make(self, schema: Schema, depth: int) -> Any:
        self._spend()
        if depth > _DEEPEST:
            raise _TooDeep("it never ends")
        if schema is True:
            return prose.some_words(self._dice, 2)
        if not isinstance(schema, dict):
            raise UnfitSchema("a schema must be an object or true")
        schema = self._flatten(schema, 0)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            options = schema["enum"]
            if not isinstance(options, list) or not options:
                raise UnfitSchema("'enum' is empty")
            return options[self._dice.below(len(options))]
        for word in ("anyOf", "oneOf"):
            if word in schema:
                return self._any_of(schema, word, depth)
        return self._typed(schema, depth)

    def _spend(self) -> None:
        self._nodes += 1
        if self._nodes > _NODES:
            raise UnfitSchema("the smallest value it accepts is too large")

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        makers: dict[str, Callable[[], Any]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: self._array(schema, depth),
            "string": lambda: self._string(schema),
            "integer": lambda: make_number(schema, self._dice, is_integer=True),
            "number": lambda: make_number(schema, self._dice, is_integer=False),
            "boolean": lambda: bool(self._dice.below(2)),
            "null": lambda: None,
        }
        kind = _choose_type(schema, is_deep=depth > _SHALLOW)
        if kind not in makers:
            raise UnfitSchema(f"'{kind}' is no type")
        return makers[kind]()

    def _flatten(self, schema: dict[str, Any], hops: int) -> dict[str, Any]:
        """Follow `$ref` and put `allOf` together, until neither is left."""
        self._spend()
        if hops > _DEEPEST:
            raise UnfitSchema("its references go in a circle")
        if "$ref" in schema:
            rest = {name: value for name, value in schema.items() if name not in {"$ref", "$defs", "definitions"}}
            return self._flatten(merge(self._resolve(schema["$ref"]), rest), hops + 1)
        if "allOf" in schema:
            rest = {name: value for name, value in schema.items() if name != "allOf"}
            for part in schema["allOf"]:
                rest = merge(rest, self._flatten(part, hops + 1) if isinstance(part, dict) else part)
            return self._flatten(rest, hops + 1)
        return schema

    def _resolve(self, reference: object) -> dict[str, Any]:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnfitSchema(f"the reference {reference!r} leads outside")
        found = self._root
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            elif isinstance(found, dict) and name in found:
                found = found[name]
            else:
                raise UnfitSchema(f"the reference {reference!r} leads nowhere")
        if not isinstance(found, dict):
            raise UnfitSchema(f"the reference {reference!r} leads to no schema")
        return found

    def _any_of(self, schema: dict[str, Any], word: str, depth: int) -> Any:
        options = list(schema[word])
        if not options:
            raise UnfitSchema(f"'{word}' is empty")
        rest = {name: value for name, value in schema.items() if name != word}
        first = self._dice.below(len(options))
        options = options[first:] + options[:first]
        if depth > _SHALLOW:
            options.sort(key=_is_complex)
        problem: UnfitSchema | Contradiction | None = None
        for option in options:
            try:
                whole = merge(rest, self._flatten(option, 0) if isinstance(option, dict) else option)
                return self.make(whole, depth + 1)
            except (_TooDeep, Contradiction) as error:
                problem = error
        assert problem is not None
        raise problem

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties: dict[str, Schema] = schema.get("properties") or {}
        required = schema.get("required") or []
        others = schema.get("additionalProperties", True)
        made: dict[str, Any] = {}
        for name, inner in properties.items():
            is_required = name in required
            if inner is False or (depth > _SHALLOW and not is_required):
                continue
            try:
                made[name] = self.make(inner, depth + 1)
            except _TooDeep:
                if is_required:
                    raise
        for name in required:
            if name not in made:
                made[name] = self.make(others, depth + 1)
        least = schema.get("minProperties", 0)
        if not properties and isinstance(others, dict) and others and depth <= _SHALLOW:
            # A free mapping: one entry shows more than none.
            least = max(least, min(1, schema.get("maxProperties", 1)))
        self._add_others(made, schema, least, depth)
        return made

    def _add_others(self, made: dict[str, Any], schema: dict[str, Any], least: int, depth: int) -> None:
        others = schema.get("additionalProperties", True)
        names = schema.get("propertyNames", True)
        tries = 0
        while len(made) < least:
            tries += 1
            if tries > least + _TRIES:
                raise UnfitSchema("there are not enough names for its properties")
            name = f"key_{len(made) + 1}" if names is True else self.make({"type": "string", **names}, depth + 1)
            if name not in made:
                made[name] = self.make(others, depth + 1)

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, 2))
        if most < least:
            raise UnfitSchema("'maxItems' is less than 'minItems'")
        first = list(schema.get("prefixItems") or ())
        rest = schema.get("items", True)
        if isinstance(rest, list):
            first, rest = rest, schema.get("additionalItems", True)
        if "contains" in schema and not first:
            # One item that is wanted, and the others as they like.
            first = [schema["contains"]]
        usual = least if depth > _SHALLOW else max(least, 2)
        wanted = min(max(usual, len(first)), most)
        made: list[Any] = []
        seen: set[bytes] = set()
        try:
            for position in range(wanted):
                inner = first[position] if position < len(first) else rest
                made.append(self._item(inner, depth, seen if schema.get("uniqueItems") else None))
        except _TooDeep:
            # What is there will do, if it is enough.
            if len(made) < least:
                raise
        return made

    def _item(self, schema: Schema, depth: int, seen: set[bytes] | None) -> Any:
        """`seen`: the items before, where each must differ."""
        if schema is False:
            raise _TooDeep("it takes no more items")
        for _ in range(_TRIES):
            value = self.make(schema, depth + 1)
            if seen is None:
                return value
            packed = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
            if packed not in seen:
                seen.add(packed)
                return value
        raise _TooDeep("there are not enough different items")

    def _string(self, schema: dict[str, Any]) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", _LONGEST)
        if least > min(most, _LONGEST):
            raise UnfitSchema("no string is as long as it asks for")
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            for _ in range(_TRIES):
                text = write_matching(pattern, self._dice)
                if least <= len(text) <= most:
                    return text
            raise UnfitSchema("no string found that fits both its pattern and its length")
        form = _FORMATS.get(str(schema.get("format")))
        if form is not None:
            return form(self._dice)
        text = prose.some_words(self._dice, 2)
        while len(text) < least:
            text += " " + prose.some_words(self._dice, 8)
        return text[:most]


def _choose_type(schema: dict[str, Any], *, is_deep: bool) -> str:
    kind = schema.get("type")
    if kind is None:
        return next((kind for kind, names in _TELLING.items() if not names.isdisjoint(schema)), "string")
    kinds = [kind] if isinstance(kind, str) else list(kind)
    if schema.get("nullable") is True:
        kinds.append("null")
    if is_deep:
        # The one that cannot lead deeper.
        kinds.sort(key=lambda kind: (kind != "null", kind not in _SIMPLE))
    elif len(kinds) > 1:
        kinds = [kind for kind in kinds if kind != "null"]
    if not kinds:
        raise UnfitSchema("'type' is empty")
    return str(kinds[0])


def _is_complex(option: object) -> bool:
    """Whether a branch may lead deeper."""
    if not isinstance(option, dict):
        return False
    kind = option.get("type")
    return not ("const" in option or "enum" in option or (isinstance(kind, str) and kind in _SIMPLE))
