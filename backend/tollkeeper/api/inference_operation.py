"""What the OpenAPI document says of one inference operation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    method: str
    path: str
    summary: str
    description: str
    # None: only in the types of `answer_texts`.
    answer: type[BaseModel] | None
    answer_example: Json | list[Json] | None = None
    request: type[BaseModel] | None = None
    request_example: Json | None = None
    chunk: type[BaseModel] | None = None
    chunk_example: Json | None = None
    request_types: tuple[str, ...] = ("application/json",)
    # Types of answers that are no JSON, each with an example.
    answer_texts: Mapping[str, str] = field(default_factory=dict)
    # Beside the headers that all of them take.
    parameters: tuple[Json, ...] = ()
    # None: OpenAI's shape. The example is made of status, message, code and request id.
    error: type[BaseModel] | None = None
    error_example: Callable[[int, str, str, str], Json] | None = None
    # Beside those that all of them may meet: status → what it means, and the code of its example.
    errors: tuple[tuple[int, str, str], ...] = ()
    # False: about what is kept here; no provider is asked.
    is_call: bool = True
