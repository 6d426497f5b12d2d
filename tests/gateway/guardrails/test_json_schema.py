"""What fits a schema and what does not, as a well-known validator says it; and schemas that are refused."""

import json
import time
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.gateway.guardrails.guarding import bodies, guarded, policy
from tests.gateway.guardrails.test_guard import said
from tests.gateway.upstream import answer_json, completion, good_stream, stream
from tollkeeper.contracts.guardrails import Action, Direction, RuleUse
from tollkeeper.gateway.guardrail import Part, PartKind
from tollkeeper.gateway.guardrails.json_schema import JsonSchema, JsonSchemaSettings
from tollkeeper.gateway.guardrails.json_schema.checking import TooCostly
from tollkeeper.gateway.guardrails.json_schema.compiled import CompiledSchema, SchemaFault

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}

_SCALARS = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, 1.0, 2.0]) | st.text("ab1", max_size=3)
)
VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
)
_COUNT = st.integers(0, 3)
_SIMPLE = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["null", "boolean", "object", "array", "number", "string", "integer", ["string", "null"]]),
        "enum": st.lists(VALUES, min_size=1, max_size=4),
        "const": VALUES,
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "maximum": st.integers(-5, 5),
        "exclusiveMinimum": st.integers(-5, 5),
        "maxLength": _COUNT,
        "minLength": _COUNT,
        "pattern": st.sampled_from(["^a", "b$", "[ab]{2}", "1"]),
        "maxItems": _COUNT,
        "minItems": _COUNT,
        "uniqueItems": st.booleans(),
        "minProperties": _COUNT,
        "maxProperties": _COUNT,
        "required": st.lists(st.text("ab", max_size=2), max_size=2, unique=True),
        "dependentRequired": st.dictionaries(st.text("ab", max_size=1), st.lists(st.text("ab", max_size=1), max_size=2, unique=True), max_size=2),
    },
)  # fmt: skip


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)
    more = st.fixed_dictionaries(
        {},
        optional={
            "allOf": some,
            "anyOf": some,
            "oneOf": some,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "items": inner,
            "prefixItems": some,
            "contains": inner,
            "minContains": _COUNT,
            "maxContains": _COUNT,
            "properties": named,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=2),
            "additionalProperties": inner,
            "propertyNames": inner,
            "dependentSchemas": named,
        },
    )
    return st.booleans() | st.tuples(_SIMPLE, more).map(lambda two: {**two[0], **two[1]})


SCHEMAS = st.recursive(_SIMPLE, _deeper, max_leaves=6)


@settings(max_examples=400, deadline=None)
@given(SCHEMAS, st.lists(VALUES, min_size=1, max_size=4))
def test_it_says_what_another_validator_says(schema: Any, values: list[Any]) -> None:
    ours = CompiledSchema({"allOf": [schema]})
    theirs = jsonschema_rs.Draft202012Validator(schema)
    for value in values:
        assert (ours.fault(value) is None) == theirs.is_valid(value), (schema, value)


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"properties": {"a/b": {"type": "text"}}}, "/properties/a~1b/type"),
        ({"properties": {"x": {"pattern": "(?=a)b"}}}, "/properties/x/pattern"),
        ({"patternProperties": {r"(a)\1": True}}, "/patternProperties"),
        ({"pattern": "(((a{1,900}b){1,900}){1,900})"}, "/pattern"),
        ({"$ref": "https://example.com/schema.json"}, "/$ref"),
        ({"$ref": "#/$defs/none"}, "/$ref"),
        ({"items": [{"type": "string"}]}, "/items"),
        ({"unevaluatedProperties": False}, "/unevaluatedProperties"),
        ({"required": "name"}, "/required"),
        ({"minLength": -1}, "/minLength"),
        ({"format": "iri"}, "/format"),
        ({"properties": {"a": 5}}, "/properties/a"),
        ({"$ref": "#"}, "leads back to itself"),
        ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}}, "leads back"),
        ({"description": "x" * 70_000}, "bytes"),
    ],
)
def test_a_schema_that_cannot_be_held_to_is_refused_with_its_place(schema: dict[str, Any], path: str) -> None:
    with pytest.raises(SchemaFault, match=path.replace("$", r"\$")):
        CompiledSchema(schema)
    with pytest.raises(ValidationError):
        JsonSchemaSettings(answer=schema)


def test_a_schema_may_be_no_deeper_than_people_write_them() -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"items": deep}
    with pytest.raises(SchemaFault, match="nested"):
        CompiledSchema(deep)


def test_a_schema_may_describe_itself() -> None:
    tree = CompiledSchema({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["n"]})
    assert tree.fault({"n": 1, "next": {"n": 2}}) is None
    assert tree.fault({"n": 1, "next": {}}) == "#/required"


def test_schemas_that_multiply_work_are_cut_short() -> None:
    twice = {"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}
    value: Any = {}
    for _ in range(60):
        value = {"a": value}
    began = time.monotonic()
    with pytest.raises(TooCostly):
        CompiledSchema(twice).fault(value)
    assert time.monotonic() - began < 30


def found(text: str, schema: dict[str, Any] = PERSON, **fields: Any) -> list[tuple[str, str]]:
    rule = JsonSchema(JsonSchemaSettings(answer=schema, **fields))
    part = Part(text, PartKind.ANSWER, "assistant", Direction.OUTPUT)
    return [(one.label, one.because) for one in rule.check(part)]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('{"name": "Ann", "age": 3}', None),
        ('```json\n{"name": "Ann"}\n```', None),
        ('{"name": "Ann"', "not_json"),
        ("Sure! Here it is.", "not_json"),
        ('{"name": "Ann", "name": "Bob"}', "not_json"),
        ('{"name": "Ann", "age": NaN}', "not_json"),
        ("[" * 100_000, "not_json"),
        ('{"name": ""}', "not_of_schema"),
        ('{"age": 1}', "not_of_schema"),
        ('{"name": "Ann", "card": 1}', "not_of_schema"),
    ],
)
def test_an_answer_fits_or_does_not(text: str, label: str | None) -> None:
    assert [one for one, _ in found(text)] == ([] if label is None else [label])


def test_what_is_told_names_the_schema_and_never_the_answer() -> None:
    assert found('{"name": "Ann", "4111 1111": 1}') == [("not_of_schema", "does not fit /additionalProperties")]


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("place", ["chat user", "messages user", "gemini user", "responses input"])
async def test_an_answer_of_another_form_does_not_leave(tmp_path: Path, place: str, is_stream: bool) -> None:
    rule = RuleUse("form", "json_schema", Action.BLOCK, settings={"answer": PERSON})
    async with guarded(tmp_path, policy(rule)) as (gateway, vendor):
        path, body = bodies("who is it?", stream=is_stream)[place]
        for text, passes in ((json.dumps({"name": "Ann"}), True), (json.dumps({"age": 3}), False), ("{}", False)):
            pieces = [text[at : at + 2] for at in range(0, len(text), 2)]
            vendor.script = stream(*good_stream(*pieces)) if is_stream else answer_json(completion(text))
            response = await gateway.post(path, body)
            assert response.status_code == 200, response.text
            assert said(response.content).startswith(text) is passes
            assert ("age" in said(response.content)) is False
