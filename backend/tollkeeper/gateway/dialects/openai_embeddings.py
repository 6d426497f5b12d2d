"""OpenAI's `embeddings`. Vectors travel as base64 of little-endian float32 or as numbers; whichever the vendor sends,
the caller gets what it asked for.
"""

import base64
import binascii
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk, Operation
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.core.strict_json import DEFAULT_DEPTH, read_object
from tollkeeper.gateway.openai_edge import OpenAIEdge
from tollkeeper.gateway.openai_fields import missing, read_common, write_call, wrong_type
from tollkeeper.gateway.openai_repair import raise_error
from tollkeeper.gateway.openai_usage import read_usage

# OpenAI, "Create embeddings": at most 2,048 inputs in one call, 2026-08.
_MOST_INPUTS: Final = 2048


class OpenAIEmbeddings(OpenAIEdge):
    NAME: ClassVar[str] = "openai_embeddings"

    def __init__(self, max_json_depth: int = DEFAULT_DEPTH) -> None:
        self._max_json_depth = max_json_depth

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        data = read_object(body, self._max_json_depth)
        call = read_common(data, Operation.EMBEDDINGS)
        if call.is_stream:
            raise BadRequest("Embeddings cannot be streamed.", param="stream", code="invalid_value")
        _check_input(data.get("input"))
        encoding = data.get("encoding_format")
        if encoding is not None and encoding not in ("float", "base64"):
            raise BadRequest(
                "Invalid value for 'encoding_format': expected 'float' or 'base64'.",
                param="encoding_format",
                code="invalid_value",
            )
        call.raw = body
        return call

    def write_call(self, call: Call) -> bytes:
        return write_call(call)

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise UpstreamError("The provider's answer is not JSON.", code="upstream_garbage") from error
        if not isinstance(data, dict):
            raise UpstreamError("The provider's answer holds no embeddings.", code="upstream_garbage")
        raise_error(data)
        rows = data.get("data")
        if not isinstance(rows, list) or not all(isinstance(row, dict) and "embedding" in row for row in rows):
            raise UpstreamError("The provider's answer holds no embeddings.", code="upstream_garbage")
        raw: bytes | None = body
        ordered = [_repair_row(row, position) for position, row in enumerate(rows)]
        ordered.sort(key=lambda row: row["index"])
        if any(ours is not theirs for ours, theirs in zip(ordered, rows, strict=True)):
            data, raw = {**data, "data": ordered}, None
        if data.get("object") != "list" or not data.get("model"):
            data, raw = {**data, "object": "list", "model": data.get("model") or call.model}, None
        return Chunk(data, raw, is_content=True, is_final=True, usage=read_usage(data.get("usage")))

    async def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        """Whole answers only; a body that comes anyway is read as one."""
        body = b"".join([data async for data in reads])
        yield [self.read_whole(body, call)]

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:
        wants_base64 = call.body.get("encoding_format") == "base64"
        rows = chunk.data["data"]
        if all(isinstance(row["embedding"], str) == wants_base64 for row in rows):
            return chunk.raw if chunk.raw is not None else orjson.dumps(chunk.data)
        convert = _to_base64 if wants_base64 else _to_floats
        shown = [{**row, "embedding": convert(row["embedding"])} for row in rows]
        return orjson.dumps({**chunk.data, "data": shown})


def has_tokens(call: Call) -> bool:
    """Whether the input is token ids, which only the vendor of that tokenizer can read."""
    value = call.body.get("input")
    return isinstance(value, list) and bool(value) and not isinstance(value[0], str)


def _check_input(value: object) -> None:
    if value is None:
        raise missing("input")
    if not isinstance(value, str | list):
        raise wrong_type("input", "a string, an array of strings or of tokens", value)
    if not value:
        raise BadRequest("Invalid 'input': it is empty.", param="input", code="invalid_value")
    if isinstance(value, list):
        _check_inputs(value)


def _check_inputs(value: list[Any]) -> None:
    kind = type(value[0])
    if kind is not int and len(value) > _MOST_INPUTS:
        raise BadRequest(
            f"Invalid 'input': at most {_MOST_INPUTS} inputs in one call, but got {len(value)}.",
            param="input",
            code="array_above_max_length",
        )
    for position, entry in enumerate(value):
        is_tokens = isinstance(entry, list) and bool(entry) and all(type(token) is int for token in entry)
        if type(entry) is not kind or not (kind is int or isinstance(entry, str) or is_tokens):
            raise wrong_type(f"input[{position}]", "a string or an array of tokens, all of one kind", entry)


def _repair_row(row: dict[str, Any], position: int) -> dict[str, Any]:
    if row.get("object") == "embedding" and type(row.get("index")) is int:
        return row
    index = row.get("index")
    return {**row, "object": "embedding", "index": index if type(index) is int else position}


def _to_base64(vector: Any) -> str:
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (struct.error, TypeError, OverflowError) as error:
        raise UpstreamError("The provider's embedding is no vector.", code="upstream_garbage") from error


def _to_floats(text: Any) -> list[float]:
    try:
        packed = base64.b64decode(text, validate=True)
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))
    except (struct.error, TypeError, binascii.Error) as error:
        raise UpstreamError("The provider's embedding is no vector.", code="upstream_garbage") from error
