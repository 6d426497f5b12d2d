"""`:embedContent` and `:batchEmbedContents` at the caller's end: one content or several, as the canonical `input`."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Call, Chunk, Operation
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.core.strict_json import read_object
from tollkeeper.gateway.dialects.gemini.caller import GeminiCaller
from tollkeeper.gateway.dialects.gemini.name import EMBEDDINGS
from tollkeeper.gateway.dialects.gemini.read_fields import Json, read_count, read_fields, read_list, read_text
from tollkeeper.gateway.dialects.gemini.read_parts import Told
from tollkeeper.gateway.dialects.gemini.read_request import read_model
from tollkeeper.gateway.openai_fields import missing

_READ: Final = frozenset({"model", "content", "outputDimensionality"})
_MOST: Final = 2048


class GeminiEmbed(GeminiCaller):
    """`:embedContent`."""

    NAME: ClassVar[str] = EMBEDDINGS

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        model = read_model(path)
        native = read_object(body, self._max_json_depth)
        _refuse(native, "requests")
        told = Told()
        text, dimensions = _request(native, "", told)
        return _call(native, model, text, dimensions, told)

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:  # noqa: ARG002 - the interface
        if chunk.native is not None:
            return chunk.native
        return orjson.dumps({"embedding": _vectors(chunk)[0], **_usage(chunk)})


class GeminiEmbedBatch(GeminiCaller):
    """`:batchEmbedContents`."""

    NAME: ClassVar[str] = EMBEDDINGS

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        model = read_model(path)
        native = read_object(body, self._max_json_depth)
        _refuse(native, "content")
        requests = read_list(read_fields(native, "body").get("requests"), "requests")
        if not requests:
            raise missing("requests")
        if len(requests) > _MOST:
            raise BadRequest(f"Invalid 'requests': at most {_MOST}.", param="requests", code="array_above_max_length")
        told = Told()
        read = [_request(request, f"requests[{at}].", told) for at, request in enumerate(requests)]
        if len({dimensions for _, dimensions in read}) > 1:
            raise BadRequest(
                "Invalid 'requests': all of them must ask for the same 'outputDimensionality'.",
                param="requests",
                code="invalid_value",
            )
        return _call(native, model, [text for text, _ in read], read[0][1], told)

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:  # noqa: ARG002 - the interface
        if chunk.native is not None:
            return chunk.native
        return orjson.dumps({"embeddings": _vectors(chunk), **_usage(chunk)})


def _refuse(native: Json, name: str) -> None:
    """The field of the other method: a document with both could be read as either."""
    if name in native:
        raise BadRequest(f"'{name}' has no meaning to this method.", param=name, code="unsupported_parameter")


def _request(value: Any, prefix: str, told: Told) -> tuple[str, int | None]:
    request = read_fields(value, prefix.rstrip(".") or "body")
    for name, item in request.items():
        if name not in _READ and item is not None:
            told.leave_out(name)
    if request.get("content") is None:
        raise missing(f"{prefix}content")
    content = read_fields(request["content"], f"{prefix}content")
    texts = []
    for at, entry in enumerate(read_list(content.get("parts"), f"{prefix}content.parts")):
        part = read_fields(entry, f"{prefix}content.parts[{at}]")
        if part.get("text") is None:
            told.need(f"{prefix}content.parts[{at}]")
        else:
            texts.append(read_text(part["text"], f"{prefix}content.parts[{at}].text"))
    if not any(texts) and told.needs_native is None:
        raise missing(f"{prefix}content.parts")
    dimensions = request.get("outputDimensionality")
    if dimensions is not None:
        dimensions = read_count(dimensions, f"{prefix}outputDimensionality", least=1)
    return "\n".join(texts), dimensions


def _call(native: Json, model: str, value: str | list[str], dimensions: int | None, told: Told) -> Call:
    body: Json = {"model": model, "input": value, "encoding_format": "float"}
    if dimensions is not None:
        body["dimensions"] = dimensions
    return Call(
        operation=Operation.EMBEDDINGS,
        model=model,
        is_stream=False,
        body=body,
        dialect=EMBEDDINGS,
        native=native,
        unexpressed=tuple(told.unexpressed),
        needs_native=told.needs_native,
    )


def _vectors(chunk: Chunk) -> list[Json]:
    rows = chunk.data["data"]
    if not rows or not all(isinstance(row["embedding"], list) for row in rows):
        raise UpstreamError("The provider's answer holds no embeddings.", code="upstream_garbage")
    return [{"values": row["embedding"]} for row in rows]


def _usage(chunk: Chunk) -> Json:
    if chunk.usage is None:
        return {}
    tokens = chunk.usage.prompt_tokens
    return {"usageMetadata": {"promptTokenCount": tokens, "totalTokenCount": tokens}}
