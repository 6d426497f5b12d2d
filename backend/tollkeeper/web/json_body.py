"""Reads a control-plane body before anything else does: counted, JSON only, and readable in one way only."""

import json
from collections.abc import Sequence
from typing import Any, Final

import orjson
from fastapi import Request

from tollkeeper.core.errors import BadRequest, MalformedPayload, PayloadTooLarge, UnsupportedMediaType

_JSON: Final = "application/json"


async def check_json_body(request: Request, *, largest: int, deepest: int) -> bytes:
    """The body, which stays readable for the route. Raises 400, 413, 415, 422 with a sentence."""
    body = await _read(request, largest)
    if body:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != _JSON and not (media_type.startswith("application/") and media_type.endswith("+json")):
            raise UnsupportedMediaType("Send the body as 'Content-Type: application/json'.")
        check_json(body, deepest)
    return body


def check_json(body: bytes, deepest: int) -> None:
    """Refuse what parsers read differently (duplicate names, NaN, lone surrogates) and what nothing should hold."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequest("The body is not valid JSON.", code="invalid_json") from None
    _walk(document, deepest)
    try:
        json.loads(body, object_pairs_hook=_refuse_duplicates)
    except ValueError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from None


async def _read(request: Request, largest: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > largest:
        raise _too_large(largest)
    size = 0
    chunks: list[bytes] = []
    async for chunk in request.stream():
        size += len(chunk)
        if size > largest:
            raise _too_large(largest)
        chunks.append(chunk)
    body = b"".join(chunks)
    # What `Request.body` itself keeps: the route's own reading finds it there.
    request._body = body  # noqa: SLF001
    return body


def _walk(document: Any, deepest: int) -> None:
    level: Sequence[Any] = [document]
    depth = 0
    while level:
        depth += 1
        if depth > deepest:
            raise BadRequest(f"The body is nested deeper than {deepest} levels.", code="invalid_json")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                _refuse_nul(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, str):
                _refuse_nul((value,))
        level = below


def _refuse_nul(texts: Any) -> None:
    if any("\0" in text for text in texts):
        raise MalformedPayload("Text may not hold a NUL character.")


def _refuse_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return document


def _too_large(largest: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {largest} bytes.", headers={"connection": "close"})
