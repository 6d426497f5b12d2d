"""The arguments of a tool call: a string of JSON in the canonical form, an object at Anthropic's."""

from typing import Any

import orjson

from tollkeeper.core.errors import BadRequest


def read_arguments(value: object, where: str) -> dict[str, Any]:
    """Nothing is an empty object. What is no object is refused: to send another one would change what was called."""
    if isinstance(value, dict):
        return value
    if value is None or value == "":
        return {}
    try:
        arguments = orjson.loads(value) if isinstance(value, str) else None
    except orjson.JSONDecodeError:
        arguments = None
    if arguments is None and value == "null":
        return {}
    if not isinstance(arguments, dict):
        raise BadRequest(
            f"Invalid '{where}': expected a JSON object as a string. "
            "If the call was cut off, leave it and its result out of the history.",
            param=where,
            code="invalid_value",
        )
    return arguments


def write_arguments(value: object) -> str:
    return orjson.dumps(value).decode() if isinstance(value, dict) and value else "{}"
