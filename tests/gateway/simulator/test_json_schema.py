import contextlib
import json
from typing import Any, Literal

import jsonschema_rs
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.gateway.simulator.dice import Dice
from tollkeeper.gateway.simulator.json_schema import make_value
from tollkeeper.gateway.simulator.unfit import UnfitSchema


class Leaf(pydantic.BaseModel):
    kind: Literal["leaf"]
    value: int | None


class Branch(pydantic.BaseModel):
    kind: Literal["branch"]
    children: list["Branch | Leaf"]
    weights: dict[str, float]
    pair: tuple[int, str]


NODE = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}, "v": {"type": "integer"}}, "required": ["next", "v"], "additionalProperties": False}  # fmt: skip
SCHEMAS: list[Any] = [
    True,
    {},
    {"type": "string"},
    {"type": "string", "minLength": 30, "maxLength": 31},
    {"type": "string", "maxLength": 1},
    {"type": "string", "pattern": "^[A-Z]{2,3}-\\d{4}(-(foo|bar))?$"},
    {"type": "string", "pattern": "^\\+?[1-9]\\d{1,14}$", "minLength": 5},
    {"type": "string", "pattern": "^(?:[^\\s@]+)@(?<host>[a-z0-9.-]+)\\.[a-z]{2,}$"},
    *({"type": "string", "format": name} for name in ("date-time", "date", "time", "email", "uuid", "ipv4", "ipv6", "uri", "hostname", "duration")),
    {"type": "integer", "minimum": 3, "exclusiveMaximum": 5},
    {"type": "integer", "multipleOf": 7, "minimum": 100},
    {"type": "integer", "maximum": -5},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number", "minimum": 0.1, "maximum": 0.1},
    {"type": "number", "minimum": 0.1, "maximum": 0.3},
    {"type": "number", "multipleOf": 0.25, "minimum": 10},
    {"type": "number", "minimum": 1e-9, "maximum": 2e-9},
    {"type": ["string", "null"]},
    {"type": "boolean"},
    {"type": "null"},
    {"enum": ["a", 2, None]},
    {"const": {"a": [1]}},
    {"type": "array", "items": {"type": "integer"}, "minItems": 5, "maxItems": 6},
    {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
    {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
    {"type": "array", "contains": {"const": "needle"}},
    {"type": "array", "maxItems": 0},
    {"type": "object", "required": ["a"]},
    {"type": "object", "minProperties": 3, "additionalProperties": {"type": "integer"}},
    {"type": "object", "propertyNames": {"enum": ["x", "y"]}, "minProperties": 2, "additionalProperties": {"type": "string"}},
    {"properties": {"a": {"properties": {"b": {"items": {"minimum": 3}, "minItems": 1}}}}},
    {"anyOf": [{"type": "integer"}, {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}]},
    {"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 3}]},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"a": {"minimum": 5}, "b": {"const": 1}}, "required": ["b"]}]},
    {"type": "number", "allOf": [{"type": "integer"}, {"minimum": 2}, {"maximum": 3}]},
    {"anyOf": [{"minimum": 5}, {"maximum": -5}], "type": "integer"},
    {"anyOf": [{"type": "string"}, {"type": "integer"}], "enum": [1, 2]},
    {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
    {"$defs": {"a/b~c": {"type": "integer"}}, "properties": {"x": {"$ref": "#/$defs/a~1b~0c", "minimum": 7, "description": "d"}}, "required": ["x"]},
    {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}, "required": ["children"]},
    {"type": "object", "properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}},
    Branch.model_json_schema(),
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_values_fit_their_schema(schema: Any) -> None:
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    for seed in range(30):
        value = make_value(schema, Dice(bytes([seed])))
        assert validator.is_valid(value), value


def test_values_are_read_by_the_model_that_asked_for_them() -> None:
    for seed in range(20):
        Branch.model_validate(make_value(Branch.model_json_schema(), Dice(bytes([seed]))), strict=False)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        5,
        {"enum": []},
        {"type": []},
        {"type": "thing"},
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
        {"type": "integer", "minimum": 2**80},
        {"type": "number", "multipleOf": 0},
        {"type": "string", "minLength": 10**9},
        {"type": "string", "pattern": "(?=x)x"},
        {"type": "string", "pattern": "(x"},
        {"type": "string", "pattern": "[z-a]"},
        {"type": "string", "pattern": "(a)\\1"},
        {"type": "string", "pattern": "x{5}", "maxLength": 2},
        {"type": "string", "pattern": "((((((a{9999}){9999}){9999}){9999}){9999}){9999}){9999}"},
        {"type": "array", "minItems": 10**9},
        {"type": "array", "minItems": "two"},
        {"type": "array", "minItems": 3, "uniqueItems": True, "items": {"type": "boolean"}},
        {"type": "object", "properties": [1]},
        {"type": "object", "minProperties": 10**9, "additionalProperties": False},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#"},
        {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
        {"type": "object", "properties": {"me": {"$ref": "#"}}, "required": ["me"]},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"allOf": [{"anyOf": [{"minimum": n + m} for n in range(9)]} for m in range(9)]},
    ],
    ids=lambda schema: json.dumps(schema)[:60],
)
def test_what_cannot_be_fitted_is_said_quickly(schema: Any) -> None:
    with pytest.raises(UnfitSchema):
        make_value(schema, Dice(b""))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYWORDS = (
    "type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems", "anyOf", "oneOf",
    "allOf", "$ref", "minimum", "maximum", "multipleOf", "minLength", "maxLength", "pattern", "minItems", "maxItems",
    "uniqueItems", "contains", "propertyNames", "minProperties", "nullable", "format",
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(KEYWORDS), json_values, max_size=5))
def test_malformed_schemas_are_refused_and_never_break_the_maker(schema: Any) -> None:
    with contextlib.suppress(UnfitSchema):
        json.dumps(make_value(schema, Dice(b"")))


numbers = st.integers(-50, 50) | st.floats(-50, 50).map(lambda number: round(number, 3))
leaves = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "number", "boolean", "null"])}),
    st.builds(lambda low, width: {"type": "number", "minimum": low, "maximum": low + width}, numbers, st.integers(0, 9)),
    st.builds(lambda low, width: {"type": "integer", "exclusiveMinimum": low, "maximum": low + width + 1}, numbers, st.integers(0, 9)),
    st.builds(lambda low, extra: {"type": "string", "minLength": low, "maxLength": low + extra}, st.integers(0, 40), st.integers(0, 9)),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers(-(2**40), 2**40) | st.text(max_size=3), min_size=1, max_size=4)),
)  # fmt: skip
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda items, least, extra: {"type": "array", "items": items, "minItems": least, "maxItems": least + extra}, inner, st.integers(0, 4), st.integers(0, 3)),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda options: {"$defs": {"a": options[0]}, "anyOf": [{"$ref": "#/$defs/a"}]}, st.lists(inner, min_size=1, max_size=1)),
        st.builds(
            lambda properties, closed: {"type": "object", "properties": properties, "required": list(properties)[:2], "additionalProperties": not closed},
            st.dictionaries(st.text(max_size=4), inner, max_size=4),
            st.booleans(),
        ),
    ),
    max_leaves=8,
)  # fmt: skip


def without_nested_references(schema: Any) -> bool:
    """A `$ref` from the root into `$defs` of an inner schema leads nowhere: such a schema is not valid at all."""
    return '"$defs"' not in json.dumps(schema)[2:] or json.dumps(schema).count('"$defs"') == (
        1 if "$defs" in schema else 0
    )


@settings(deadline=None, max_examples=300)
@given(schemas.filter(without_nested_references), st.binary(max_size=4))
def test_any_ordinary_schema_is_fitted(schema: Any, seed: bytes) -> None:
    assert jsonschema_rs.is_valid(schema, make_value(schema, Dice(seed)))
