"""Embeddings on Vertex AI: `:predict` with one instance a text.

"Text embeddings API" and `TextEmbeddingPredictionParams`, Vertex AI reference, 2026-11. A text that is too long is refused
and never cut, unless the caller says so; Gemini's own model takes one text a call, which it says itself.
"""

from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk
from tollkeeper.gateway.usage_counts import mapping
from tollkeeper.gateway.vectors import no_embeddings, prepare_for, read_answer, texts_of, write_vectors

_EXPRESSED: Final = frozenset(
    {"model", "input", "dimensions", "encoding_format", "task_type", "title", "auto_truncate"}
)


class VertexEmbeddings:
    NAME: ClassVar[str] = "vertex_embeddings"

    def write_call(self, call: Call) -> bytes:
        shared = {name: value for name in ("task_type", "title") if (value := call.body.get(name)) is not None}
        parameters: dict[str, Any] = {"autoTruncate": call.body.get("auto_truncate") is True}
        if (dimensions := call.body.get("dimensions")) is not None:
            parameters["outputDimensionality"] = dimensions
        instances = [{"content": text, **shared} for text in texts_of(call, "Vertex AI")]
        return orjson.dumps({"instances": instances, "parameters": parameters})

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        predictions = read_answer(body).get("predictions")
        if not isinstance(predictions, list):
            raise no_embeddings()
        found = [mapping(mapping(one).get("embeddings")) for one in predictions]
        counts = [mapping(one.get("statistics")).get("token_count") for one in found]
        is_counted = all(type(count) in {int, float} for count in counts)
        return write_vectors([one.get("values") for one in found], sum(counts) if is_counted else None, call)

    async def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        """Whole answers only; a body that comes anyway is read as one."""
        yield [self.read_whole(b"".join([data async for data in reads]), call)]


def prepare_embeddings(call: Call, model: str) -> Call:
    return prepare_for(call, model, _EXPRESSED)
