"""Fields of a Gemini document with their types checked. Google's JSON reader takes names in camelCase and snake_case, null
for what is not there, and one object in the place of a list of one: so does this.
"""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.openai_fields import check_count, wrong_type

Json = dict[str, Any]

# A tuple: a union written with | would be built anew at every check.
_NUMBER: Final = (int, float)
_LONGEST_NUMBER: Final = 10


def read_fields(value: Any, where: str) -> Mapping[str, Any]:
    """An object with its names in camelCase; the object itself where they are."""
    if type(value) is not dict:
        raise wrong_type(where, "an object", value)
    for name in value:
        if "_" in name:
            return _in_camel_case(value, where)
    found: Mapping[str, Any] = value
    return found


def _in_camel_case(value: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    found = {camel(name): item for name, item in value.items()}
    if len(found) < len(value):
        # Two readings of one document.
        raise BadRequest(
            f"Invalid '{where}': a field stands there in camelCase and in snake_case; send it once.",
            param=where,
            code="duplicate_key",
        )
    return found


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def read_list(value: Any, where: str) -> list[Any]:
    """[] for null."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise wrong_type(where, "an array", value)
    return value


def read_text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise wrong_type(where, "a string", value)
    return value


def read_bool(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(where, "a boolean", value)
    return value


def read_number(value: Any, where: str, *, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, _NUMBER):
        raise wrong_type(where, "a decimal", value)
    if value < least:
        raise BadRequest(
            f"Invalid '{where}': decimal below minimum value. Expected a value >= {least}, but got {value} instead.",
            param=where,
            code="decimal_below_min_value",
        )
    return value


def read_count(value: Any, where: str, *, least: int, most: int = 2**31) -> int:
    """Whole numbers may come as 12.0 or as a string of digits."""
    if isinstance(value, float):
        value = int(value) if value == int(value) else value
    elif isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _LONGEST_NUMBER:
        value = int(value)
    check_count(where, value, least=least, most=most)
    found: int = value
    return found
