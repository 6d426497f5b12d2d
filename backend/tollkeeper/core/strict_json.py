"""Reads a caller's JSON so that no other parser could read it differently.

orjson is fast but keeps the last of two equal keys and turns large integers into floats. Bytes that orjson writes back
unchanged are canonical and need no second look; all others are read once more by the standard library, which sees
duplicates and numbers as they stand.
"""

import json
from typing import Any, Final, NoReturn

import orjson

from tollkeeper.core.errors import BadRequest

DEFAULT_DEPTH: Final = 128
# A tuple: a union written with | would be built anew at every check.
_CONTAINER: Final = (dict, list)
_COUNTED_BYTES: Final = 4096
_LARGEST: Final = 2**64 - 1
_SMALLEST: Final = -(2**63)


def read_object(body: bytes, max_depth: int = DEFAULT_DEPTH) -> dict[str, Any]:
    """A JSON object, or `BadRequest` with the code `invalid_json`, `json_too_deep`, `duplicate_key` or
    `number_out_of_range`.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _refusal(body, error) from error
    if not isinstance(value, dict):
        raise BadRequest("The request body must be a JSON object.", code="invalid_json")
    # Counting the brackets of a small body bounds its depth from above; in a large one, mostly text, it costs more than
    # to walk the containers that are there.
    is_suspect = len(body) > _COUNTED_BYTES or body.count(b"{") + body.count(b"[") > max_depth
    if is_suspect and _depth_exceeds(value, max_depth):
        raise BadRequest(f"The request body nests deeper than {max_depth} levels.", code="json_too_deep")
    if orjson.dumps(value) != body:
        _read_again(body)
    return value


def _refusal(body: bytes, error: orjson.JSONDecodeError) -> BadRequest:
    text = str(error)
    if text.startswith("depth limit"):
        return BadRequest("The request body nests too deep.", code="json_too_deep")
    if "number is infinity" in text:
        return BadRequest("The request body holds a number that is out of range.", code="number_out_of_range")
    if not body:
        return BadRequest("The request body is empty; send a JSON object.", code="invalid_json")
    if not error.doc:  # orjson shows no document when it could not decode the bytes
        return BadRequest("The request body is not valid UTF-8.", code="invalid_json")
    return BadRequest(
        f"We could not parse the JSON body of your request at line {error.lineno} column {error.colno}.",
        code="invalid_json",
    )


def _depth_exceeds(value: object, max_depth: int) -> bool:
    """Walk level by level, so that depth costs no recursion."""
    level: list[object] = [value]
    for _ in range(max_depth):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)  # type: ignore[attr-defined]
            if isinstance(child, _CONTAINER)
        ]
        if not level:
            return False
    return True


def _read_again(body: bytes) -> None:
    try:
        json.loads(
            body, object_pairs_hook=_pairs, parse_int=_integer, parse_float=_fraction, parse_constant=_not_a_number
        )
    except (ValueError, RecursionError) as error:
        raise BadRequest("We could not parse the JSON body of your request.", code="invalid_json") from error


def _pairs(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) == len(pairs):
        return
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            shown = name[:64]
            raise BadRequest(
                f"The request body repeats the key {shown!r} in one object; send it once.",
                code="duplicate_key",
                param=shown,
            )
        seen.add(name)


def _integer(text: str) -> int:
    # 20 characters hold every 64-bit number with its sign; longer ones are not even converted.
    if len(text) > 20 or not _SMALLEST <= (value := int(text)) <= _LARGEST:
        raise BadRequest("The request body holds an integer beyond 64 bits.", code="number_out_of_range")
    return value


def _fraction(text: str) -> float:
    if len(text) > 400:
        raise BadRequest("The request body holds a number with too many digits.", code="number_out_of_range")
    return float(text)


def _not_a_number(_text: str) -> NoReturn:
    raise BadRequest("The request body holds NaN or Infinity, which are not JSON.", code="invalid_json")
