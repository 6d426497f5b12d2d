"""Checks of request fields that the OpenAI dialects share: only what the gateway must know, in OpenAI's own words.

Everything else is the vendor's to judge, and unknown fields are carried.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.core.errors import BadRequest

_LONGEST_MODEL: Final = 256
_DOTS: Final = frozenset({".", ".."})
# A tuple: a union written with | would be built anew at every check.
_NUMBER: Final = (int, float)
# Fields that are numbers at every vendor; a boolean or a string there would reach estimates and prices.
_NUMBERS: Final = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty"})
_COUNTS: Final = frozenset({"max_tokens", "max_completion_tokens", "top_logprobs", "best_of", "dimensions"})
_CHECKED: Final = frozenset({*_NUMBERS, *_COUNTS, "n"})


def read_common(body: dict[str, Any], operation: Operation) -> Call:
    """The fields every operation has; the operation's own are checked by its dialect."""
    model = _read_model(body)
    is_stream = body.get("stream")
    if is_stream is not None and not isinstance(is_stream, bool):
        raise wrong_type("stream", "a boolean", is_stream)
    options = body.get("stream_options")
    wants_usage = False
    if options is not None:
        wants_usage = _read_stream_options(options, is_stream=bool(is_stream))
    if not _CHECKED.isdisjoint(body):
        _check_numbers(body)
    end_user = body.get("safety_identifier") or body.get("user")
    return Call(
        operation=operation,
        model=model,
        is_stream=bool(is_stream),
        body=body,
        wants_usage=wants_usage,
        end_user=end_user if isinstance(end_user, str) else None,
    )


def _check_numbers(body: dict[str, Any]) -> None:
    for name, value in body.items():
        if name in _NUMBERS:
            _check_number(name, value, least=-2 if name.endswith("penalty") else 0)
        elif name in _COUNTS:
            check_count(name, value, least=0 if name == "top_logprobs" else 1)
        elif name == "n":
            check_count("n", value, least=1, most=128)


def _read_model(body: dict[str, Any]) -> str:
    model = body.get("model")
    if model is None:
        raise missing("model")
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    check_model(model)
    return model


def check_model(name: str) -> None:
    """Some vendors have the name in their addresses, where `..` would lead elsewhere."""
    is_name = 0 < len(name) <= _LONGEST_MODEL and name.isprintable() and not name.isspace()
    if not is_name or ("." in name and not _DOTS.isdisjoint(name.split("/"))):
        raise BadRequest(
            f"Invalid value for 'model': expected a name of 1 to {_LONGEST_MODEL} printable characters, none of its parts "
            "'.' or '..'.",
            param="model",
            code="invalid_value",
        )


def _read_stream_options(options: object, *, is_stream: bool) -> bool:
    if not isinstance(options, dict):
        raise wrong_type("stream_options", "an object", options)
    if not is_stream:
        raise BadRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
            code="invalid_value",
        )
    include = options.get("include_usage")
    if include is not None and not isinstance(include, bool):
        raise wrong_type("stream_options.include_usage", "a boolean", include)
    return bool(include)


def _check_number(name: str, value: object, *, least: float) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, _NUMBER):
        raise wrong_type(name, "a decimal", value)
    if value < least:
        raise BadRequest(
            f"Invalid '{name}': decimal below minimum value. Expected a value >= {least}, but got {value} instead.",
            param=name,
            code="decimal_below_min_value",
        )


def check_count(name: str, value: object, *, least: int, most: int = 2**31) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, "an integer", value)
    if value < least:
        raise BadRequest(
            f"Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {value} instead.",
            param=name,
            code="integer_below_min_value",
        )
    if value > most:
        raise BadRequest(
            f"Invalid '{name}': integer above maximum value. Expected a value <= {most}, but got {value} instead.",
            param=name,
            code="integer_above_max_value",
        )


def missing(name: str) -> BadRequest:
    return BadRequest(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def wrong_type(name: str, expected: str, value: object) -> BadRequest:
    return BadRequest(
        f"Invalid type for '{name}': expected {expected}, but got {_kind(value)} instead.",
        param=name,
        code="invalid_type",
    )


_KINDS: Final[Mapping[type, str]] = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "something else")


def write_call(call: Call) -> bytes:
    """The bytes as they came while nobody changed the body."""
    return call.raw if call.raw is not None else orjson.dumps(call.body)


# Of calls that came in another dialect: what says the same in OpenAI's words, where it is there.
_SAID_BY: Final[Mapping[str, str]] = {"thinking": "reasoning_effort", "speed": "service_tier"}


def dropped_fields(before: Call, after: Call) -> list[str]:
    """Top-level fields the caller sent that the vendor will not see, renames aside; for `x-tollkeeper-dropped`."""
    if before.body.keys() <= after.body.keys():
        return []
    renamed = {"max_tokens", "max_completion_tokens"}
    return sorted(
        name
        for name in before.body
        if name not in after.body
        and name != "stream_options"
        and not (name in renamed and renamed & after.body.keys())
        and _SAID_BY.get(name) not in after.body
    )
