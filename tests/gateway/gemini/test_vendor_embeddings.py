"""Embeddings at Gemini's end: one text or several, vectors as numbers."""

import json
from typing import Any

import pytest

from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.dialects.gemini import GeminiEmbeddingsVendor, method_of, prepare
from tollkeeper.gateway.openai_fields import dropped_fields

VENDOR = GeminiEmbeddingsVendor()


def asked(value: Any, **fields: Any) -> Call:
    body = {"model": "gemini-embedding-001", "input": value, **fields}
    return Call(Operation.EMBEDDINGS, "gemini-embedding-001", is_stream=False, body=body)


def test_one_text() -> None:
    call = asked("Hi", dimensions=256, user="u", encoding_format="base64")
    prepared = prepare(call, "*")
    assert dropped_fields(call, prepared) == ["user"]
    assert method_of(prepared) == "embedContent"
    assert json.loads(VENDOR.write_call(prepared)) == {
        "model": "models/gemini-embedding-001",
        "content": {"parts": [{"text": "Hi"}]},
        "outputDimensionality": 256,
    }
    chunk = VENDOR.read_whole(b'{"embedding":{"values":[0.5,1]}}', call)
    assert chunk.data["data"] == [{"object": "embedding", "index": 0, "embedding": [0.5, 1]}]
    assert (chunk.usage, chunk.data["usage"]) == (None, {"prompt_tokens": 1, "total_tokens": 1})


def test_several_texts() -> None:
    call = asked(["a", "b"])
    assert method_of(call) == "batchEmbedContents"
    sent = json.loads(VENDOR.write_call(call))
    assert [request["content"]["parts"][0]["text"] for request in sent["requests"]] == ["a", "b"]
    assert {request["model"] for request in sent["requests"]} == {"models/gemini-embedding-001"}
    body = b'{"embeddings":[{"values":[1]},{"values":[2]}],"usageMetadata":{"promptTokenCount":9}}'
    chunk = VENDOR.read_whole(body, call)
    assert [row["embedding"] for row in chunk.data["data"]] == [[1], [2]]
    assert chunk.usage is not None
    assert chunk.usage.prompt_tokens == 9


def test_tokens_are_refused() -> None:
    """61."""
    for value in ([1, 2], [[1], [2]]):
        with pytest.raises(BadRequest) as caught:
            VENDOR.write_call(asked(value))
        assert (caught.value.code, caught.value.param) == ("unsupported_input", "input")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"embeddings":7}', b'{"embeddings":[]}', b'{"embedding":{}}'])
def test_answer_without_vectors_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        VENDOR.read_whole(body, asked("a"))
    assert caught.value.code == "upstream_garbage"
