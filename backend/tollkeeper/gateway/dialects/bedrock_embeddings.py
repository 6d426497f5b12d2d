"""Embeddings on Bedrock: InvokeModel with the documents of Amazon's Titan and of Cohere's Embed.

"Amazon Titan Text Embeddings" and "Cohere Embed v3 / v4", Amazon Bedrock user guide, 2026-11. A text that is too long is
refused and never cut, unless the caller says so.
"""

from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.vectors import (
    prepare_for,
    read_answer,
    refuse_dimensions,
    texts_of,
    write_vectors,
)

_TITAN: Final = "amazon.titan-embed-text"
_COHERE: Final = "cohere.embed-"
_EXPRESSED: Final = frozenset({"model", "input", "dimensions", "encoding_format"})
_OF_TITAN: Final = _EXPRESSED | {"normalize"}
_OF_COHERE: Final = _EXPRESSED | {"input_type", "truncate"}
# What is embedded to be found; Cohere wants to be told, and OpenAI's clients have no word for it.
_USUAL_TYPE: Final = "search_document"


class TitanEmbeddings:
    """One text a call. The first generation has vectors of one length."""

    NAME: ClassVar[str] = "bedrock_titan_embeddings"

    def write_call(self, call: Call) -> bytes:
        texts = texts_of(call, "Titan")
        if len(texts) != 1:
            raise BadRequest(
                "Titan embeds one text a call: send each text in a call of its own.",
                code="array_above_max_length",
                param="input",
            )
        document: dict[str, Any] = {"inputText": texts[0]}
        if "v1" in call.model:
            refuse_dimensions(call, "This model")
        elif (dimensions := call.body.get("dimensions")) is not None:
            document["dimensions"] = dimensions
        if (normalize := call.body.get("normalize")) is not None:
            document["normalize"] = normalize
        return orjson.dumps(document)

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        data = read_answer(body)
        return write_vectors([data.get("embedding")], data.get("inputTextTokenCount"), call)

    async def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        """Whole answers only; a body that comes anyway is read as one."""
        yield [self.read_whole(b"".join([data async for data in reads]), call)]


class CohereEmbeddings:
    """Tokens are counted in a header alone; they are ours to count."""

    NAME: ClassVar[str] = "bedrock_cohere_embeddings"

    def write_call(self, call: Call) -> bytes:
        document: dict[str, Any] = {
            "texts": texts_of(call, "Cohere"),
            "input_type": call.body.get("input_type") or _USUAL_TYPE,
            "truncate": call.body.get("truncate") or "NONE",
            "embedding_types": ["float"],
        }
        if "v3" in call.model:
            refuse_dimensions(call, "This model")
        elif (dimensions := call.body.get("dimensions")) is not None:
            document["output_dimension"] = dimensions
        return orjson.dumps(document)

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        found = read_answer(body).get("embeddings")
        # By type where types were asked for; the list alone is what answers were before there were types.
        return write_vectors(found.get("float") if isinstance(found, dict) else found, None, call)

    async def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        """Whole answers only; a body that comes anyway is read as one."""
        yield [self.read_whole(b"".join([data async for data in reads]), call)]


_TITANS: Final = TitanEmbeddings()
_COHERES: Final = CohereEmbeddings()


def find_embeddings(model: str) -> TitanEmbeddings | CohereEmbeddings | None:
    """By the model's name, whatever region's profile stands before it; None where it embeds nothing we know how to ask."""
    if _TITAN in model:
        return _TITANS
    return _COHERES if _COHERE in model else None


def prepare_embeddings(call: Call, model: str) -> Call:
    return prepare_for(call, model, _OF_COHERE if _COHERE in model else _OF_TITAN)
