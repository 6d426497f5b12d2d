"""What the OpenAPI document says of one inference operation."""

from collections.abc import Callable
from dataclasses import dataclass
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
    answer: type[BaseModel]
    answer_example: Json
    request: type[BaseModel] | None = None
    request_example: Json | None = None
    chunk: type[BaseModel] | None = None
    chunk_example: Json | None = None
    # Beside the headers that all of them take.
    parameters: tuple[Json, ...] = ()
    # None: OpenAI's shape. The example is made of status, message, code and request id.
    error: type[BaseModel] | None = None
    error_example: Callable[[int, str, str, str], Json] | None = None
