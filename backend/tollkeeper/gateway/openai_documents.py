"""What OpenAI's smaller operations have in common: one JSON document in the answer, texts of a form in the request."""

import math
from collections.abc import Mapping
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.form import Form, FormPart
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.multipart import read_form
from tollkeeper.gateway.openai_fields import missing, read_common, wrong_type
from tollkeeper.gateway.openai_repair import raise_error

_TRUE: Final = frozenset({"true", "True", "1"})
_FALSE: Final = frozenset({"false", "False", "0"})
# What forms write as text and everything after them wants as it is meant.
_COUNTS: Final = frozenset({"n", "partial_images", "output_compression"})
_NUMBERS: Final = frozenset({"temperature", "top_p"})


def read_document(body: bytes) -> dict[str, Any]:
    """A vendor's JSON object. Raises `UpstreamError` for everything else, an error under status 200 first."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamError("The provider's answer is not JSON.", code="upstream_garbage") from error
    if not isinstance(data, dict):
        raise UpstreamError("The provider's answer is no object.", code="upstream_garbage")
    raise_error(data)
    return data


def refuse_stream(call: Call, what: str) -> None:
    if call.is_stream:
        raise BadRequest(f"{what} cannot be streamed.", param="stream", code="invalid_value")


def read_form_call(content: bytes, headers: Mapping[bytes, bytes], operation: Operation) -> tuple[Call, Form]:
    """The fields every operation has, out of a form. Texts that stand once in a call may stand once in its form."""
    form = read_form(content, headers)
    body: dict[str, Any] = {}
    for name, value in form.values.items():
        body[name] = _typed(name, value)
    for part in form.parts:
        if part.is_file and part.key in body:
            raise BadRequest(
                f"Invalid '{part.key[:100]}': it is a file and a text.", param=part.key[:100], code="invalid_multipart"
            )
        if part.is_file and part.key in {"model", "n", "stream", "response_format"}:
            raise wrong_type(part.key, "a text", part)
    call = read_common(body, operation)
    call.form = Form(form.content, form.boundary, form.parts, form.close, body)
    return call, call.form


def _typed(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return value
    if name == "stream":
        if value not in _TRUE and value not in _FALSE:
            raise BadRequest(
                "Invalid value for 'stream': expected 'true' or 'false'.", param=name, code="invalid_value"
            )
        return value in _TRUE
    if name in _COUNTS and value.isascii() and value.isdigit() and len(value) <= 9:
        return int(value)
    if name in _NUMBERS and len(value) <= 32:
        try:
            number = float(value)
        except ValueError:
            return value
        return number if math.isfinite(number) else value
    return value


def files_of(form: Form, key: str, *, most: int = 1) -> tuple[FormPart, ...]:
    """Raises `BadRequest` where there is none, one too many, or an empty one."""
    files = form.files(key)
    if not files:
        if key in form.values:
            raise wrong_type(key, "a file", form.values[key])
        raise missing(key)
    if len(files) > most:
        raise BadRequest(
            f"Invalid '{key}': expected at most {most}, but got {len(files)}.", param=key, code="array_above_max_length"
        )
    if any(part.start == part.end for part in files):
        raise BadRequest(f"Invalid '{key}': the file is empty.", param=key, code="invalid_value")
    return files


def read_text(body: Mapping[str, Any], name: str, *, is_required: bool = False) -> str | None:
    """A field that is a string where it is there."""
    value = body.get(name)
    if value is None:
        if is_required:
            raise missing(name)
        return None
    if not isinstance(value, str):
        raise wrong_type(name, "a string", value)
    if is_required and not value:
        raise BadRequest(f"Invalid '{name}': it is empty.", param=name, code="invalid_value")
    return value
