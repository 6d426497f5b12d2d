"""Vertex AI over sockets: Gemini and Claude at their addresses, with tokens of Google Cloud, billed as counted."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.clouds.token_service import config, origin, service_account, tokens_in_turn
from tests.gateway.serving import chat, events_of, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, answer_json, event, running_upstream, stream
from tollkeeper.contracts.chat import Call, Operation, Usage
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.openai_fields import dropped_fields
from tollkeeper.gateway.provider import FailureClass
from tollkeeper.gateway.providers import PROVIDERS, provider_kinds

VERTEX = PROVIDERS["vertex"]
PLACE = "/v1/projects/p/locations/europe-west1"
HOST = "https://europe-west1-aiplatform.googleapis.com"
GEMINI = "gemini-2.5-flash"
CLAUDE = "claude-sonnet-4-5@20250929"
GEMINI_USAGE = {"promptTokenCount": 20, "candidatesTokenCount": 6, "thoughtsTokenCount": 4, "totalTokenCount": 30}
CLAUDE_USAGE = {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 7, "output_tokens": 3}


@pytest.fixture
async def service() -> AsyncIterator[FakeUpstream]:
    async with running_upstream() as running:
        running.script = tokens_in_turn("ya29.token")
        yield running


def vertex(vendor: FakeUpstream, document: Any, **options: Any) -> Any:
    return config("vertex", origin(vendor) + PLACE, document, options=options)


def one_model(owner: Any, model: str) -> Any:
    return snapshot([owner], [route("gpt-4o-mini", ("cloud", model))])


def gemini(parts: Any, finish: str | None = "STOP") -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": GEMINI_USAGE, "modelVersion": GEMINI, "responseId": "r1"}


def url(base: str, model: str, *, is_stream: bool = False, **options: Any) -> str:
    call = Call(Operation.CHAT, model, is_stream=is_stream, body={"model": model})
    return VERTEX.url(provider("p", base, kind="vertex", options=options), call, Target("p", "*"))


@pytest.mark.parametrize(
    ("base", "options", "expected"),
    [
        (HOST + PLACE, {}, HOST + PLACE),
        (HOST, {"project": "p"}, HOST + PLACE),
        (HOST + "/v1/", {"project": "p", "location": "global"}, HOST + "/v1/projects/p/locations/global"),
        (
            "https://aiplatform.googleapis.com",
            {"project": "example.com:p"},
            "https://aiplatform.googleapis.com/v1/projects/example.com:p/locations/global",
        ),
        ("https://aiplatform.googleapis.com/v1", {}, "https://aiplatform.googleapis.com/v1"),
    ],
)
def test_project_and_location_stand_in_the_address_or_the_options(base: str, options: Any, expected: str) -> None:
    assert url(base, GEMINI, **options) == f"{expected}/publishers/google/models/{GEMINI}:generateContent"


def test_each_publisher_has_its_methods() -> None:
    base = HOST + PLACE + "/publishers"
    assert url(HOST + PLACE, GEMINI, is_stream=True) == f"{base}/google/models/{GEMINI}:streamGenerateContent?alt=sse"
    assert url(HOST + PLACE, CLAUDE) == f"{base}/anthropic/models/{CLAUDE}:rawPredict"
    assert url(HOST + PLACE, f"anthropic/{CLAUDE}", is_stream=True) == (
        f"{base}/anthropic/models/{CLAUDE}:streamRawPredict"
    )
    assert url(HOST + PLACE, "google/../../x?y") == f"{base}/google/models/..%2F..%2Fx%3Fy:generateContent"


async def test_gemini_with_the_token_of_a_service_account(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    vendor.script = answer_json(gemini([{"text": "hello"}]))
    async with serving(tmp_path, one_model(vertex(vendor, service_account(service)), GEMINI)) as gateway:
        for _ in range(2):
            response = await gateway.post(body=chat(max_tokens=9))
        (row, _) = await gateway.settled(2)
    assert response.json()["choices"][0]["message"]["content"] == "hello"
    assert [seen.path for seen in vendor.seen] == [f"{PLACE}/publishers/google/models/{GEMINI}:generateContent"] * 2
    assert {seen.header("authorization") for seen in vendor.seen} == {"Bearer ya29.token"}
    assert {seen.header("x-goog-api-key") for seen in vendor.seen} == {None}
    assert len(service.seen) == 1
    assert vendor.seen[0].json()["contents"] == [{"role": "user", "parts": [{"text": "Say hello."}]}]
    assert vendor.seen[0].json()["generationConfig"]["maxOutputTokens"] == 9
    assert row.usage == Usage(input=20, output=6, reasoning=4)


async def test_gemini_streamed(tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream) -> None:
    vendor.script = stream(event(gemini([{"text": "hel"}], None)), event(gemini([{"text": "lo"}])))
    async with serving(tmp_path, one_model(vertex(vendor, service_account(service)), GEMINI)) as gateway:
        response = await gateway.post(body=chat(stream=True))
        (row,) = await gateway.settled()
    *events, done = events_of(response.text)
    assert done == "[DONE]"
    texts = [choice["delta"].get("content") or "" for data in events for choice in json.loads(data)["choices"]]
    assert "".join(texts) == "hello"
    assert row.usage == Usage(input=20, output=6, reasoning=4)


async def test_calls_of_functions_go_without_ids(tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream) -> None:
    vendor.script = answer_json(gemini([{"text": "ok"}]))
    said: list[dict[str, Any]] = [
        {"role": "user", "content": "Go."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    tools = [{"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}]
    async with serving(tmp_path, one_model(vertex(vendor, service_account(service)), GEMINI)) as gateway:
        assert (await gateway.post(body=chat(messages=said, tools=tools))).status_code == 200
    contents = vendor.seen[0].json()["contents"]
    assert contents[1]["parts"][0]["functionCall"] == {"name": "get", "args": {"a": 1}}
    assert "id" not in contents[2]["parts"][0]["functionResponse"]


async def test_api_key_of_express_mode(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(gemini([{"text": "ok"}]))
    owner = config("vertex", origin(vendor) + "/v1", "express-key-1234")
    async with serving(tmp_path, one_model(owner, GEMINI)) as gateway:
        assert (await gateway.post()).status_code == 200
    assert vendor.seen[0].path == f"/v1/publishers/google/models/{GEMINI}:generateContent"
    assert vendor.seen[0].header("x-goog-api-key") == "express-key-1234"
    assert vendor.seen[0].header("authorization") is None


async def test_claude_has_its_version_in_the_body(tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream) -> None:
    message = {
        "id": "msg_vrtx_1",
        "type": "message",
        "role": "assistant",
        "model": CLAUDE,
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": CLAUDE_USAGE,
    }
    vendor.script = answer_json(message)
    async with serving(tmp_path, one_model(vertex(vendor, service_account(service)), CLAUDE)) as gateway:
        response = await gateway.post(body=chat(max_tokens=9))
        (row,) = await gateway.settled()
    sent = vendor.seen[0].json()
    assert response.json()["choices"][0]["message"]["content"] == "hello"
    assert vendor.seen[0].path == f"{PLACE}/publishers/anthropic/models/{CLAUDE}:rawPredict"
    assert sent["anthropic_version"] == "vertex-2023-10-16"
    assert sent["max_tokens"] == 9
    assert "model" not in sent
    assert row.usage == Usage(input=10, cache_read=7, output=3)


async def test_claude_streamed(tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream) -> None:
    start = {"type": "message", "id": "m", "role": "assistant", "model": CLAUDE, "content": [], "usage": CLAUDE_USAGE}
    said: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    vendor.script = stream(*(f"event: {one['type']}\n".encode() + event(one) for one in said))
    async with serving(tmp_path, one_model(vertex(vendor, service_account(service)), CLAUDE)) as gateway:
        response = await gateway.post(body=chat(stream=True))
        (row,) = await gateway.settled()
    assert vendor.seen[0].path.endswith(":streamRawPredict")
    assert vendor.seen[0].json()["stream"] is True
    assert "hello" in response.text
    assert row.usage == Usage(input=10, cache_read=7, output=3)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, {"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED"}}, FailureClass.RATE),
        (403, {"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}}, FailureClass.CREDENTIAL),
        (400, {"error": {"code": 400, "message": "Bad", "status": "INVALID_ARGUMENT"}}, FailureClass.REQUEST),
        (
            400,
            {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}},
            FailureClass.CONTEXT_WINDOW,
        ),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, FailureClass.SERVER),
    ],
)
def test_refusals_are_read_in_whose_words_they_are(status: int, body: Any, kind: FailureClass) -> None:
    assert VERTEX.failure(status, {}, json.dumps(body).encode()).kind is kind
    assert VERTEX.failure(500, {}, b"<html>").kind is FailureClass.SERVER


def test_tier_is_no_field_of_vertex() -> None:
    body = {"model": GEMINI, "messages": [{"role": "user", "content": "Hi"}], "service_tier": "flex"}
    call = Call(Operation.CHAT, GEMINI, is_stream=False, body=body)
    prepared = VERTEX.prepare(provider("p", HOST, kind="vertex"), call, Target("p", "*"))
    assert dropped_fields(call, prepared) == ["service_tier"]


def test_other_operations_are_refused() -> None:
    for operation, model in ((Operation.MODERATIONS, GEMINI), (Operation.EMBEDDINGS, CLAUDE)):
        call = Call(operation, model, is_stream=False, body={})
        with pytest.raises(BadRequest):
            VERTEX.dialect(provider("p", None, kind="vertex"), call, Target("p", "*"))


PREDICTION = {"embeddings": {"statistics": {"truncated": False, "token_count": 4}, "values": [0.25, -0.5]}}


async def test_texts_are_embedded_by_predict_and_billed_as_counted(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    vendor.script = answer_json({"predictions": [PREDICTION, PREDICTION]})
    document = service_account(service)
    async with serving(tmp_path, one_model(vertex(vendor, document), "text-embedding-005")) as gateway:
        body = {
            "model": "gpt-4o-mini",
            "input": ["one", "two"],
            "dimensions": 2,
            "task_type": "CLUSTERING",
            "user": "u",
        }
        answer = await gateway.post("/v1/embeddings", body)
        (row,) = await gateway.settled()
    (seen,) = vendor.seen
    assert answer.status_code == 200, answer.text
    assert [one["embedding"] for one in answer.json()["data"]] == [[0.25, -0.5]] * 2
    assert answer.json()["usage"] == {"prompt_tokens": 8, "total_tokens": 8}
    assert answer.headers["x-tollkeeper-dropped"] == "user"
    assert seen.path == f"{PLACE}/publishers/google/models/text-embedding-005:predict"
    assert seen.json() == {
        "instances": [{"content": "one", "task_type": "CLUSTERING"}, {"content": "two", "task_type": "CLUSTERING"}],
        "parameters": {"autoTruncate": False, "outputDimensionality": 2},
    }
    assert row.usage == Usage(input=8)


@pytest.mark.parametrize(
    "answered",
    [{"predictions": [PREDICTION]}, {"predictions": [{}, {}]}, {"predictions": 5}, {"embedding": []}, []],
)
async def test_an_answer_without_each_vector_is_named(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream, answered: Any
) -> None:
    vendor.script = answer_json(answered)
    document = service_account(service)
    async with serving(tmp_path, one_model(vertex(vendor, document), "text-embedding-005")) as gateway:
        answer = await gateway.post("/v1/embeddings", {"model": "gpt-4o-mini", "input": ["one", "two"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_garbage")


def test_kind_is_listed_with_what_it_takes() -> None:
    kind = next(kind for kind in provider_kinds() if kind.kind == "vertex")
    assert (kind.needs_base_url, kind.needs_credential, kind.document) == (True, True, "google")
