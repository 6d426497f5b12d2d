"""Gemini's `embedContent` and `batchEmbedContents`: one text or several; vectors come as numbers."""

from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk, Usage
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.dialects.gemini.name import EMBEDDINGS, is_native
from tollkeeper.gateway.dialects.gemini.vendor_failures import raise_error
from tollkeeper.gateway.usage_counts import mapping, read_count

_FIELDS: Final = {"dimensions": "outputDimensionality", "task_type": "taskType", "title": "title"}
# The answer tells no tokens at most models; OpenAI's clients read a number, and this is about it.
_BYTES_PER_TOKEN: Final = 4


class GeminiEmbeddingsVendor:
    NAME: ClassVar[str] = EMBEDDINGS

    def write_call(self, call: Call) -> bytes:
        model = call.model if call.model.startswith(("models/", "tunedModels/")) else f"models/{call.model}"
        if is_native(call):
            return orjson.dumps(_native(call, model))
        options = {theirs: call.body[ours] for ours, theirs in _FIELDS.items() if call.body.get(ours) is not None}
        value = call.body["input"]
        if isinstance(value, str):
            return orjson.dumps({"model": model, "content": {"parts": [{"text": value}]}, **options})
        if not all(isinstance(text, str) for text in value):
            raise BadRequest(
                "Gemini reads text, not token ids. Send strings "
                "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False)).",
                code="unsupported_input",
                param="input",
            )
        requests = [{"model": model, "content": {"parts": [{"text": text}]}, **options} for text in value]
        return orjson.dumps({"requests": requests})

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise UpstreamError("The provider's answer is not JSON.", code="upstream_garbage") from error
        raise_error(data)
        if not isinstance(data, dict):
            raise UpstreamError("The provider's answer holds no embeddings.", code="upstream_garbage")
        rows = data.get("embeddings") if "embeddings" in data else [data.get("embedding")]
        if not isinstance(rows, list) or not rows:
            raise UpstreamError("The provider's answer holds no embeddings.", code="upstream_garbage")
        told = read_count(mapping(data.get("usageMetadata")).get("promptTokenCount"))
        tokens = _guess(call) if told is None else told
        document = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _vector(row)} for index, row in enumerate(rows)
            ],
            "model": call.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        usage = None if told is None else Usage(input=told)
        return Chunk(document, is_content=True, is_final=True, usage=usage, native=body if is_native(call) else None)

    async def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        """Whole answers only; a body that comes anyway is read as one."""
        body = b"".join([data async for data in reads])
        yield [self.read_whole(body, call)]


def _native(call: Call, model: str) -> dict[str, Any]:
    """The caller's own document, under the vendor's name of the model."""
    assert call.native is not None
    document = {**call.native, "model": model}
    if "requests" in document:
        del document["model"]
        requests = document["requests"]
        # One in the place of a list of one.
        requests = [requests] if isinstance(requests, dict) else requests
        document["requests"] = [{**request, "model": model} for request in requests]
    return document


def _vector(row: Any) -> list[float]:
    values = row.get("values") if isinstance(row, dict) else None
    if not isinstance(values, list):
        raise UpstreamError("The provider's embedding is no vector.", code="upstream_garbage")
    return values


def _guess(call: Call) -> int:
    value = call.body["input"]
    texts = [value] if isinstance(value, str) else value
    return sum(-(-len(text.encode()) // _BYTES_PER_TOKEN) for text in texts if isinstance(text, str))
