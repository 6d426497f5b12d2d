"""OpenAI's `moderations`: texts and pictures in, a verdict on each out. Whole only."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Amounts, Batch, Call, Chunk, Operation
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.core.strict_json import DEFAULT_DEPTH, read_object
from tollkeeper.gateway.openai_documents import read_document, refuse_stream
from tollkeeper.gateway.openai_edge import OpenAIEdge
from tollkeeper.gateway.openai_fields import missing, read_common, write_call, wrong_type
from tollkeeper.gateway.openai_usage import read_usage

# What OpenAI takes where none is named ("Create moderation", API reference, 2026-10).
DEFAULT_MODEL: Final = "omni-moderation-latest"
_ONE: Final = Amounts()
_PARTS: Final = frozenset({"text", "image_url"})


class OpenAIModerations(OpenAIEdge):
    NAME: ClassVar[str] = "openai_moderations"

    def __init__(self, max_json_depth: int = DEFAULT_DEPTH) -> None:
        self._max_json_depth = max_json_depth

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        data = read_object(body, self._max_json_depth)
        raw: bytes | None = body
        if data.get("model") is None:
            data, raw = {**data, "model": DEFAULT_MODEL}, None
        call = read_common(data, Operation.MODERATIONS)
        refuse_stream(call, "Moderations")
        _check_input(data.get("input"))
        call.raw = raw
        call.asked = _ONE
        return call

    def write_call(self, call: Call) -> bytes:
        return write_call(call)

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        data = read_document(body)
        results = data.get("results")
        if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
            raise UpstreamError("The provider's answer holds no moderation.", code="upstream_garbage")
        raw: bytes | None = body
        if not data.get("id") or not data.get("model"):
            data, raw = {**data, "id": data.get("id") or "modr-0", "model": data.get("model") or call.model}, None
        usage = read_usage(data.get("usage"))
        return Chunk(data, raw, is_content=True, is_final=True, usage=usage, amounts=_ONE)

    async def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        """Whole answers only; a body that comes anyway is read as one."""
        yield [self.read_whole(b"".join([data async for data in reads]), call)]

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:  # noqa: ARG002 - the interface
        return chunk.raw if chunk.raw is not None else orjson.dumps(chunk.data)


def _check_input(value: Any) -> None:
    if value is None:
        raise missing("input")
    if not isinstance(value, str | list):
        raise wrong_type("input", "a string, an array of strings or of parts", value)
    if not value:
        raise BadRequest("Invalid 'input': it is empty.", param="input", code="invalid_value")
    if isinstance(value, str):
        return
    is_text = isinstance(value[0], str)
    for position, entry in enumerate(value):
        place = f"input[{position}]"
        if isinstance(entry, str) is not is_text or not isinstance(entry, str | dict):
            raise wrong_type(place, "a string or a part, all of one kind", entry)
        if isinstance(entry, dict):
            _check_part(entry, place)


def _check_part(part: dict[str, Any], place: str) -> None:
    kind = part.get("type")
    if not isinstance(kind, str):
        raise wrong_type(f"{place}.type", "a string", kind)
    if kind not in _PARTS:
        raise BadRequest(
            f"Invalid value for '{place}.type': expected 'text' or 'image_url'.",
            param=f"{place}.type",
            code="invalid_value",
        )
    if kind == "text" and not isinstance(part.get("text"), str):
        raise wrong_type(f"{place}.text", "a string", part.get("text"))
    if kind == "image_url":
        inner = part.get("image_url")
        if not isinstance(inner, dict) or not isinstance(inner.get("url"), str):
            raise wrong_type(f"{place}.image_url", "an object with a 'url'", inner)
