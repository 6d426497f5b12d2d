import base64
import json
import math
import struct
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse

from tests.gateway.simulator.asking import EMBEDDINGS, ask, document
from tollkeeper.gateway.simulator.embeddings import embed


def vectors(**fields: Any) -> list[Any]:
    script = ask(EMBEDDINGS, model="simulated-embedding", **fields)
    assert script.status == 200
    return [row["embedding"] for row in document(script)["data"]]


def cosine(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(embed(one, 1536), embed(other, 1536), strict=True))


def test_vectors_have_length_one_and_the_asked_dimensions() -> None:
    assert len(vectors(input="a b c")[0]) == 1536
    for dimensions in (1, 2, 3, 256, 4096):
        [vector] = vectors(input="some words that meet in few places", dimensions=dimensions)
        assert len(vector) == dimensions
        assert math.isclose(math.hypot(*vector), 1.0, rel_tol=1e-6)


def test_the_same_text_has_the_same_vector_and_likeness_shows() -> None:
    assert vectors(input="hello there") == vectors(input=["hello there"])
    assert cosine("reset my password", "reset my password please") > 0.7
    assert abs(cosine("reset my password", "bananas are yellow fruit")) < 0.2


def test_base64_is_little_endian_float32_of_the_same_numbers() -> None:
    [packed] = vectors(input="hello", encoding_format="base64", dimensions=64)
    [floats] = vectors(input="hello", encoding_format="float", dimensions=64)
    assert list(struct.unpack("<64f", base64.b64decode(packed))) == floats


def test_tokens_are_inputs_too() -> None:
    assert len(vectors(input=[1, 2, 3])) == 1
    assert len(vectors(input=[[1, 2, 3], [4]])) == 2


def test_answers_are_what_the_sdks_types_say() -> None:
    script = ask(EMBEDDINGS, model="simulated-embedding", input=["one", "two words"])
    parsed = CreateEmbeddingResponse.model_validate_json(json.dumps(document(script)), strict=True)
    assert [row.index for row in parsed.data] == [0, 1]
    assert parsed.usage.prompt_tokens == 3


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"input": ""},
        {"input": []},
        {"input": [""]},
        {"input": ["a", 1]},
        {"input": [[]]},
        {"input": ["x"] * 2049},
        {"input": "x " * 8193},
        {"input": ["x " * 8000] * 40},
        {"input": "x", "dimensions": 0},
        {"input": "x", "encoding_format": "hex"},
    ],
)
def test_bad_inputs_are_refused(fields: dict[str, Any]) -> None:
    assert ask(EMBEDDINGS, model="simulated-embedding", **fields).status == 400
