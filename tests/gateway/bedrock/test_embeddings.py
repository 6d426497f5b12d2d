"""Embeddings on Bedrock over sockets: what Titan and Cohere are sent, what comes back, what is refused before it leaves.

Documents as in "Amazon Titan Text Embeddings" and "Cohere Embed", Amazon Bedrock user guide.
"""

import base64
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.bedrock.test_bedrock import bedrock, is_signed_by
from tests.gateway.clouds.token_service import aws
from tests.gateway.serving import route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, answer_json
from tollkeeper.contracts.chat import Usage
from tollkeeper.gateway.cloud_aws import AwsKeys

TITAN, TITAN_FIRST = "amazon.titan-embed-text-v2:0", "amazon.titan-embed-text-v1"
COHERE_3, COHERE_4 = "cohere.embed-multilingual-v3", "eu.cohere.embed-v4:0"
VECTOR = [0.25, -0.5, 1.0]
OF_TITAN = {"embedding": VECTOR, "inputTextTokenCount": 3, "embeddingsByType": {"float": VECTOR}}
OF_COHERE = {"id": "1", "response_type": "embeddings_by_type", "embeddings": {"float": [VECTOR, VECTOR]}}


def one_model(vendor: FakeUpstream, model: str) -> Any:
    return snapshot([bedrock(vendor, aws())], [route("embed", ("cloud", model))])


async def test_titan_embeds_one_text_billed_as_counted(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(OF_TITAN)
    async with serving(tmp_path, one_model(vendor, TITAN)) as gateway:
        answer = await gateway.post(
            "/v1/embeddings", {"model": "embed", "input": ["hello"], "dimensions": 256, "user": "u"}
        )
        (row,) = await gateway.settled()
    (seen,) = vendor.seen
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == [{"object": "embedding", "index": 0, "embedding": VECTOR}]
    assert answer.json()["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert answer.headers["x-tollkeeper-dropped"] == "user"
    assert seen.path == "/model/amazon.titan-embed-text-v2%3A0/invoke"
    assert seen.json() == {"inputText": "hello", "dimensions": 256}
    assert is_signed_by(seen, AwsKeys("AKIDEXAMPLE", "a-secret-access-key"))
    assert row.usage == Usage(input=3)


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        pytest.param(
            COHERE_4,
            {"dimensions": 512, "input_type": "search_query"},
            {"input_type": "search_query", "truncate": "NONE", "output_dimension": 512},
            id="the fourth takes dimensions",
        ),
        pytest.param(COHERE_3, {}, {"input_type": "search_document", "truncate": "NONE"}, id="told what it must be"),
        pytest.param(
            COHERE_3, {"truncate": "END"}, {"input_type": "search_document", "truncate": "END"}, id="may be cut"
        ),
    ],
)
async def test_cohere_embeds_texts_that_we_count(
    tmp_path: Path, vendor: FakeUpstream, model: str, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    vendor.script = answer_json(OF_COHERE)
    async with serving(tmp_path, one_model(vendor, model)) as gateway:
        answer = await gateway.post("/v1/embeddings", {"model": "embed", "input": ["one", "two"], **asked})
        (row,) = await gateway.settled()
    assert answer.status_code == 200, answer.text
    assert [one["embedding"] for one in answer.json()["data"]] == [VECTOR, VECTOR]
    assert vendor.seen[0].json() == {"texts": ["one", "two"], "embedding_types": ["float"], **sent}
    assert row.usage.is_estimated
    assert row.usage.input > 0


async def test_vectors_come_as_the_caller_asked(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(OF_TITAN)
    async with serving(tmp_path, one_model(vendor, TITAN)) as gateway:
        answer = await gateway.post("/v1/embeddings", {"model": "embed", "input": "hello", "encoding_format": "base64"})
    packed = base64.b64decode(answer.json()["data"][0]["embedding"])
    assert list(struct.unpack("<3f", packed)) == VECTOR


@pytest.mark.parametrize(
    ("model", "asked", "code", "param"),
    [
        pytest.param(TITAN, {"input": ["a", "b"]}, "array_above_max_length", "input", id="two texts"),
        pytest.param(TITAN, {"input": [[1, 2]]}, "unsupported_input", "input", id="tokens"),
        pytest.param(
            TITAN_FIRST, {"dimensions": 256}, "unsupported_parameter", "dimensions", id="the first has one length"
        ),
        pytest.param(COHERE_3, {"dimensions": 256}, "unsupported_parameter", "dimensions", id="the third too"),
        pytest.param("anthropic.claude-opus-4-6-v1", {}, "unsupported_operation", "model", id="a model that writes"),
    ],
)
async def test_what_a_model_cannot_is_refused_before_it_leaves(
    tmp_path: Path, vendor: FakeUpstream, model: str, asked: dict[str, Any], code: str, param: str
) -> None:
    async with serving(tmp_path, one_model(vendor, model)) as gateway:
        answer = await gateway.post("/v1/embeddings", {"model": "embed", "input": "hello", **asked})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert vendor.seen == []


@pytest.mark.parametrize("answered", [{}, [], {"embedding": []}, {"embedding": ["x"]}, {"embedding": None}])
async def test_an_answer_without_a_vector_is_named(tmp_path: Path, vendor: FakeUpstream, answered: Any) -> None:
    vendor.script = answer_json(answered)
    async with serving(tmp_path, one_model(vendor, TITAN)) as gateway:
        answer = await gateway.post("/v1/embeddings", {"model": "embed", "input": "hello"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_garbage")


async def test_gemini_s_clients_reach_it_as_well(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(OF_TITAN)
    async with serving(tmp_path, one_model(vendor, TITAN)) as gateway:
        answer = await gateway.post("/v1beta/models/embed:embedContent", {"content": {"parts": [{"text": "hello"}]}})
    assert answer.json()["embedding"] == {"values": VECTOR}
    assert vendor.seen[0].json() == {"inputText": "hello"}
