"""Embeddings of vendors with documents of their own: their texts out of a call, their vectors in OpenAI's document."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import ABSENT, Call, Chunk, Usage
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.usage_counts import read_count

# Where a vendor counts no tokens OpenAI's clients read a number all the same, and this is about it.
_BYTES_PER_TOKEN: Final = 4


def texts_of(call: Call, vendor: str) -> list[str]:
    """Raises `BadRequest` for token ids, which only the vendor of their tokenizer can read."""
    value = call.body["input"]
    texts = [value] if isinstance(value, str) else value
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest(
            f"{vendor} reads text, not token ids. Send strings "
            "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False)).",
            code="unsupported_input",
            param="input",
        )
    return list(texts)


def prepare_for(call: Call, model: str, expressed: frozenset[str]) -> Call:
    """The call for the vendor's model, without what its dialect has no word for."""
    changes: dict[str, Any] = {} if model in {"*", call.model} else {"model": model}
    # A field that is there and null asks for nothing.
    changes |= {name: ABSENT for name, value in call.body.items() if name not in expressed and value is not None}
    return call.replace(**changes) if changes else call


def refuse_dimensions(call: Call, vendor: str) -> None:
    """Vectors of another length than was asked for would be another answer."""
    if call.body.get("dimensions") is not None:
        raise BadRequest(
            f"{vendor} gives vectors of one length only: leave 'dimensions' out.",
            code="unsupported_parameter",
            param="dimensions",
        )


def read_answer(body: bytes) -> Mapping[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamError("The provider's answer is not JSON.", code="upstream_garbage") from error
    if not isinstance(data, dict):
        raise no_embeddings()
    return data


def write_vectors(vectors: Any, tokens: Any, call: Call) -> Chunk:
    """`tokens`: as the vendor counts them; whatever is no count is guessed, and billed by our own."""
    wanted = call.body["input"]
    count = 1 if isinstance(wanted, str) else len(wanted)
    if not isinstance(vectors, list) or len(vectors) != count or not all(_is_vector(one) for one in vectors):
        raise no_embeddings()
    told = read_count(tokens)
    shown = _guess(wanted) if told is None else told
    document = {
        "object": "list",
        "data": [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)],
        "model": call.model,
        "usage": {"prompt_tokens": shown, "total_tokens": shown},
    }
    return Chunk(document, is_content=True, is_final=True, usage=None if told is None else Usage(input=told))


def no_embeddings() -> UpstreamError:
    return UpstreamError("The provider's answer holds no embeddings.", code="upstream_garbage")


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(number) in {float, int} for number in value)


def _guess(wanted: str | Sequence[str]) -> int:
    texts = [wanted] if isinstance(wanted, str) else wanted
    return sum(-(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN) for text in texts)
