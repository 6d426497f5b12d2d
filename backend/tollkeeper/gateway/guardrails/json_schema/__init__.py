"""What an answer has to look like: JSON that fits a schema. An answer without text (a call of a tool) is not judged."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from tollkeeper.contracts.guardrails import Direction
from tollkeeper.gateway.guardrail import WHOLE, Finding, Part, PartKind
from tollkeeper.gateway.guardrails.json_schema.compiled import CompiledSchema, SchemaFault

_FENCE = "```"


class JsonSchemaSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    answer: dict[str, JsonValue] = Field(
        description="A JSON Schema (2020-12), without addresses elsewhere; patterns are RE2."
    )
    allow_fence: bool = Field(True, description="The answer may stand between ```json and ```.")

    @field_validator("answer")
    @classmethod
    def _compile(cls, answer: dict[str, Any]) -> dict[str, Any]:
        try:
            CompiledSchema(answer)
        except SchemaFault as fault:
            raise ValueError(str(fault)) from None
        return answer


class JsonSchema:
    NAME: ClassVar[str] = "json_schema"
    TITLE: ClassVar[str] = "JSON: what an answer has to look like"
    Settings: ClassVar[type[BaseModel]] = JsonSchemaSettings
    WINDOW: ClassVar[int] = WHOLE

    def __init__(self, settings: JsonSchemaSettings) -> None:
        self._schema = CompiledSchema(settings.answer)
        self._allows_fence = settings.allow_fence

    def check(self, part: Part) -> Sequence[Finding]:
        if part.kind is not PartKind.ANSWER or part.direction is not Direction.OUTPUT:
            return ()
        text = part.text.strip()
        if self._allows_fence and text.startswith(_FENCE) and text.endswith(_FENCE) and len(text) > 2 * len(_FENCE):
            text = text[len(_FENCE) : -len(_FENCE)].strip().removeprefix("json").strip()
        try:
            value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return (self._finding("not_json", part, "the answer is no JSON"),)
        fault = self._schema.fault(value)
        # The place in the schema, which is the operator's own: never a word of the answer.
        return () if fault is None else (self._finding("not_of_schema", part, f"does not fit {fault}"),)

    def _finding(self, label: str, part: Part, because: str) -> Finding:
        return Finding(self.NAME, label, 0, len(part.text), 1.0, because)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two equal names parsers choose differently."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
