"""Embeddings: inputs of each kind, vectors in the encoding the caller asked for, and the legacy completions beside."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.serving import Serving, provider, route, serving, snapshot
from tests.gateway.upstream import DONE, USAGE, FakeUpstream, answer, answer_json, event, stream

VECTORS = [[0.5, -1.25, 3.0], [1.0, 0.0, -0.125]]
USED = {"prompt_tokens": 8, "total_tokens": 8}


def packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def document(vectors: list[Any], **fields: Any) -> dict[str, Any]:
    rows = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    return {"object": "list", "data": rows, "model": "embed", "usage": USED, **fields}


async def embed(gateway: Serving, **fields: Any) -> Any:
    return await gateway.post("/v1/embeddings", {"model": "embed", "input": ["a", "b"], **fields})


async def test_answer_in_the_asked_encoding_is_relayed_byte_for_byte(gateway: Serving, vendor: FakeUpstream) -> None:
    for encoding, vectors in ((None, VECTORS), ("float", VECTORS), ("base64", [packed(v) for v in VECTORS])):
        body = json.dumps(document(vectors), indent=1).encode()
        vendor.script = answer(200, body)
        response = await embed(gateway, **({"encoding_format": encoding} if encoding else {}))
        assert response.content == body
    rows = await gateway.settled(3)
    assert {(row.usage.input, row.usage.output, row.cost_nano) for row in rows} == {(8, 0, 8 * 150)}


async def test_floats_become_base64_for_who_asked(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(document(VECTORS))
    rows = (await embed(gateway, encoding_format="base64")).json()["data"]
    assert [row["embedding"] for row in rows] == [packed(vector) for vector in VECTORS]


@pytest.mark.parametrize("asked", [{}, {"encoding_format": "float"}])
async def test_base64_becomes_floats_for_who_asked(
    gateway: Serving, vendor: FakeUpstream, asked: dict[str, str]
) -> None:
    vendor.script = answer_json(document([packed(vector) for vector in VECTORS]))
    rows = (await embed(gateway, **asked)).json()["data"]
    assert [row["embedding"] for row in rows] == VECTORS


async def test_rows_are_put_in_order_and_completed(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json({"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]})
    body = (await embed(gateway)).json()
    assert [(row["object"], row["index"], row["embedding"]) for row in body["data"]] == [
        ("embedding", 0, [1.0]),
        ("embedding", 1, [2.0]),
    ]
    assert (body["object"], body["model"]) == ("list", "embed")


@pytest.mark.parametrize(
    "answered",
    [{}, {"data": 7}, {"data": [7]}, {"data": [{}]}, document(["%%%"]), document([["x"]]), document(["abc"])],
)
async def test_answer_without_vectors_is_an_error(gateway: Serving, vendor: FakeUpstream, answered: Any) -> None:
    vendor.script = answer_json(answered)
    asked = {"encoding_format": "base64"} if answered == document([["x"]]) else {}
    response = await embed(gateway, **asked)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_garbage")


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": None}, "missing_required_parameter", "input"),
        ({"input": ""}, "invalid_value", "input"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": 7}, "invalid_type", "input"),
        ({"input": ["a", 7]}, "invalid_type", "input[1]"),
        ({"input": [1, "a"]}, "invalid_type", "input[1]"),
        ({"input": [True]}, "invalid_type", "input[0]"),
        ({"input": [[1], []]}, "invalid_type", "input[1]"),
        ({"input": ["a"] * 2049}, "array_above_max_length", "input"),
        ({"encoding_format": "hex"}, "invalid_value", "encoding_format"),
        ({"encoding_format": ["float"]}, "invalid_value", "encoding_format"),
        ({"dimensions": 0}, "integer_below_min_value", "dimensions"),
        ({"stream": True}, "invalid_value", "stream"),
    ],
)
async def test_bad_input_is_400(gateway: Serving, vendor: FakeUpstream, fields: Any, code: str, param: str) -> None:
    response = await embed(gateway, **fields)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)
    assert vendor.seen == []


async def test_tokens_reach_a_vendor_that_reads_them_and_no_other(tmp_path: Path, vendor: FakeUpstream) -> None:
    """61."""
    vendor.script = answer_json(document(VECTORS))
    snap = snapshot(
        [provider("one", vendor.base_url), provider("text", vendor.base_url, kind="mistral")],
        [route("embed", ("one", "embed")), route("textual", ("text", "embed"))],
    )
    async with serving(tmp_path, snap) as gateway:
        for tokens in ([1, 2, 3], [[1, 2], [3]]):
            assert (await embed(gateway, input=tokens)).status_code == 200
            refused = await embed(gateway, input=tokens, model="textual")
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_input")
            assert refused.json()["error"]["param"] == "input"
        shown = await embed(gateway, model="textual", encoding_format="base64")
    assert shown.json()["data"][0]["embedding"] == packed(VECTORS[0])
    assert vendor.seen[-1].json()["encoding_format"] == "float"
    assert len(vendor.seen) == 3


PROMPT = {"model": "gpt-4o-mini", "prompt": "Say hello"}


def text(value: str, finish: str | None) -> dict[str, Any]:
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 7,
        "model": "m",
        "choices": [{"text": value, "index": 0, "logprobs": None, "finish_reason": finish}],
    }


async def test_completions_are_served_whole_and_streamed(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json({**text("hello", "stop"), "usage": USAGE})
    whole = await gateway.post("/v1/completions", PROMPT)
    assert whole.json()["choices"][0]["text"] == "hello"
    assert vendor.seen[0].path == "/v1/completions"
    vendor.script = stream(
        event(text("he", None)),
        event(text("llo", "stop")),
        event({**text("", None), "choices": [], "usage": USAGE}),
        DONE,
    )
    streamed = await gateway.post("/v1/completions", {**PROMPT, "stream": True})
    assert streamed.text.count("text_completion") == 2
    assert streamed.text.endswith("data: [DONE]\n\n")
    rows = await gateway.settled(2)
    assert [(row.usage.input, row.usage.output) for row in rows] == [(10, 5)] * 2


@pytest.mark.parametrize("prompt", ["x", ["x", "y"], [1, 2], [[1, 2], [3]]])
async def test_prompt_of_each_kind_is_taken(gateway: Serving, vendor: FakeUpstream, prompt: Any) -> None:
    vendor.script = answer_json(text("hello", "stop"))
    assert (await gateway.post("/v1/completions", {**PROMPT, "prompt": prompt})).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"), [({"prompt": None}, "prompt"), ({"prompt": 7}, "prompt"), ({"prompt": ["a", 1]}, "prompt"), ({"prompt": [[]]}, "prompt"), ({"logprobs": -1}, "logprobs"), ({"best_of": 0}, "best_of")]
)  # fmt: skip
async def test_bad_prompt_is_400(gateway: Serving, vendor: FakeUpstream, fields: Any, param: str) -> None:
    response = await gateway.post("/v1/completions", {**PROMPT, **fields})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert vendor.seen == []
