"""`rerank`, in the shape that Cohere gave it and Jina, vLLM, Together and others took over: a query and documents in, the
documents' places and scores out. Whole only.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Amounts, Batch, Call, Chunk, Operation, Usage
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.core.strict_json import DEFAULT_DEPTH, read_object
from tollkeeper.gateway.openai_documents import read_document, read_text, refuse_stream
from tollkeeper.gateway.openai_edge import OpenAIEdge
from tollkeeper.gateway.openai_fields import check_count, missing, read_common, write_call, wrong_type
from tollkeeper.gateway.openai_usage import read_usage
from tollkeeper.gateway.usage_counts import mapping, read_count

_MOST_DOCUMENTS: Final = 10_000
# Cohere, "Rerank pricing", 2026-10: a search is a query with up to 100 documents; longer ones than 500 tokens, the query
# included, count as several, of 4,096 tokens at most.
_DOCUMENTS: Final = 100
_TOKENS: Final = 500
_MOST_TOKENS: Final = 4_096


class OpenAIRerank(OpenAIEdge):
    NAME: ClassVar[str] = "openai_rerank"

    def __init__(self, max_json_depth: int = DEFAULT_DEPTH) -> None:
        self._max_json_depth = max_json_depth

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        call = read_common(read_object(body, self._max_json_depth), Operation.RERANK)
        refuse_stream(call, "Reranking")
        query = read_text(call.body, "query", is_required=True) or ""
        documents = _check_documents(call.body.get("documents"))
        check_count("top_n", call.body.get("top_n"), least=1)
        call.raw = body
        call.asked = Amounts(units=_units(query, documents, bytes_per_token=4))
        call.at_most = Amounts(units=_units(query, documents, bytes_per_token=1))
        return call

    def write_call(self, call: Call) -> bytes:
        return write_call(call)

    def read_whole(self, body: bytes, call: Call) -> Chunk:  # noqa: ARG002 - the interface
        data = read_document(body)
        raw: bytes | None = body
        # Voyage calls them so.
        rows = data.get("results", data.get("data"))
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UpstreamError("The provider's answer holds no ranking.", code="upstream_garbage")
        if any(type(row.get("index")) is not int or not _is_number(row.get("relevance_score")) for row in rows):
            raise UpstreamError("The provider's answer holds no ranking.", code="upstream_garbage")
        if "results" not in data:
            data = {name: value for name, value in data.items() if name != "data"} | {"results": rows}
            raw = None
        units = read_count(mapping(mapping(data.get("meta")).get("billed_units")).get("search_units"))
        # Where nothing is said of them, a call is one.
        amounts = Amounts(units=1 if units is None else units)
        return Chunk(data, raw, is_content=True, is_final=True, usage=_read_usage(data), amounts=amounts)

    async def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        """Whole answers only; a body that comes anyway is read as one."""
        yield [self.read_whole(b"".join([data async for data in reads]), call)]

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:  # noqa: ARG002 - the interface
        return chunk.raw if chunk.raw is not None else orjson.dumps(chunk.data)


def text_of(document: Any) -> str:
    """A document is a text, or an object whose fields are read."""
    return document if isinstance(document, str) else orjson.dumps(document).decode()


def _check_documents(documents: Any) -> list[Any]:
    if documents is None:
        raise missing("documents")
    if not isinstance(documents, list):
        raise wrong_type("documents", "an array", documents)
    if not 0 < len(documents) <= _MOST_DOCUMENTS:
        raise BadRequest(
            f"Invalid 'documents': expected 1 to {_MOST_DOCUMENTS}, but got {len(documents)}.",
            param="documents",
            code="invalid_value",
        )
    for position, document in enumerate(documents):
        if not isinstance(document, str | dict):
            raise wrong_type(f"documents[{position}]", "a string or an object", document)
    return documents


def _units(query: str, documents: list[Any], *, bytes_per_token: int) -> int:
    """Searches, at so many bytes a token: one byte bounds them."""
    asked = min(_tokens(query, bytes_per_token), _TOKENS // 2)
    pieces = sum(
        -(-min(max(_tokens(text_of(document), bytes_per_token), 1), _MOST_TOKENS) // (_TOKENS - asked))
        for document in documents
    )
    return max(-(-pieces // _DOCUMENTS), 1)


def _tokens(text: str, bytes_per_token: int) -> int:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // bytes_per_token)


def _read_usage(data: Mapping[str, Any]) -> Usage | None:
    told = mapping(data.get("usage"))
    usage = read_usage(told)
    if usage is None and (total := read_count(told.get("total_tokens"))) is not None:
        usage = Usage(input=total)
    return usage


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
