"""The inference paths of the OpenAPI document: valid, complete, true to what the gateway serves, with examples that hold."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import orjson
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from tollkeeper.api import inference
from tollkeeper.api.inference import TAG, with_inference_paths
from tollkeeper.contracts.passthrough import METHODS
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.gateway.dialects.anthropic_messages import AnthropicCaller, AnthropicTokenCount
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.dialects.openai_completions import OpenAICompletions
from tollkeeper.gateway.dialects.openai_embeddings import OpenAIEmbeddings
from tollkeeper.gateway.dialects.openai_responses import ResponsesCaller, ResponsesTokenCount
from tollkeeper.gateway.paths import GEMINI_METHODS, GEMINI_PREFIXES, OPERATION_PATHS, PREFIXES, Paths

Json = dict[str, Any]
# What a call may meet at the HTTP protocol, before the gateway knows of it, is not part of an operation.
_NOT_OF_INFERENCE = {405, 409, 412, 422}


@pytest.fixture(scope="module")
def document() -> Json:
    return with_inference_paths(FastAPI(title="t", version="1").openapi())


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_document_is_openapi_3_1(document: Json) -> None:
    OPENAPI_31_VALIDATOR.validate(document)
    assert document["openapi"].startswith("3.1")


def test_whole_applications_document_is_openapi_3_1_with_unique_ids() -> None:
    # Imported here: the application pulls in everything, and the tests beside this one need little of it.
    from tollkeeper.main import create_app

    whole = create_app().openapi()
    OPENAPI_31_VALIDATOR.validate(whole)
    ids = [operation["operationId"] for _, _, operation in operations(whole)]
    assert len(ids) == len(set(ids))
    assert "/v1/chat/completions" in whole["paths"]
    assert "/api/v1/keys" in whole["paths"]


def test_every_path_the_gateway_serves_is_documented_and_nothing_else(document: Json) -> None:
    served = {(prefix + path, "post") for prefix in PREFIXES for path in OPERATION_PATHS}
    served |= {(prefix + path, "get") for prefix in PREFIXES for path in ("/models", "/models/{model}")}
    stored = ("/responses/{response_id}", "get"), ("/responses/{response_id}", "delete")
    listed = ("/responses/{response_id}/input_items", "get")
    served |= {(prefix + path, method) for prefix in PREFIXES for path, method in (*stored, listed)}
    kept = {"/files": ("get", "post"), "/files/{file_id}": ("get", "delete"), "/files/{file_id}/content": ("get",)}
    run = {"/batches": ("get", "post"), "/batches/{batch_id}": ("get",), "/batches/{batch_id}/cancel": ("post",)}
    job = "/fine_tuning/jobs/{fine_tuning_job_id}"
    made = {"/fine_tuning/jobs": ("get", "post"), job: ("get",)}
    made |= {f"{job}/{word}": ("get",) for word in ("events", "checkpoints")}
    made |= {f"{job}/{word}": ("post",) for word in ("cancel", "pause", "resume")}
    passed = {"/providers/{provider}/{path}": tuple(method.lower() for method in METHODS)}
    paths = {**kept, **run, **made, **passed}
    served |= {(prefix + path, method) for prefix in PREFIXES for path, methods in paths.items() for method in methods}
    # Under `/v1` and `/api/v1` too, where the document only says so.
    methods = {"/models/{model}:" + method for method in GEMINI_METHODS}
    served |= {(prefix + path, "post") for prefix in GEMINI_PREFIXES for path in methods}
    served |= {(prefix + path, "get") for prefix in GEMINI_PREFIXES for path in ("/models", "/models/{model}")}
    assert {(path, method) for path, method, _ in operations(document)} == served


def test_every_reference_leads_somewhere(document: Json) -> None:
    known = document["components"]["schemas"]
    references = set(_references(document))
    assert references
    assert {reference.removeprefix("#/components/schemas/") for reference in references} <= set(known)


def test_examples_fit_their_schemas(document: Json) -> None:
    count = 0
    for _, _, operation in operations(document):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for body in [*bodies, *operation["responses"].values()]:
            for content in body["content"].values():
                schema = {**content["schema"], "components": document["components"]}
                jsonschema_rs.validate(schema, content["example"])
                count += 1
    assert count > 100


def test_request_examples_are_read_by_the_gateway(document: Json) -> None:
    dialects = {
        "/v1/chat/completions": OpenAIChat(),
        "/v1/completions": OpenAICompletions(),
        "/v1/embeddings": OpenAIEmbeddings(),
        "/v1/responses": ResponsesCaller(),
        "/v1/responses/input_tokens": ResponsesTokenCount(),
        "/v1/messages": AnthropicCaller(),
        "/v1/messages/count_tokens": AnthropicTokenCount(),
    }
    for path, dialect in dialects.items():
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        call = dialect.read_call(orjson.dumps(example), {}, "")
        assert call.model == example["model"]
    paths = Paths(128)
    for method in GEMINI_METHODS:
        path = f"/v1beta/models/simulated:{method}"
        way = paths.find(path)
        assert way is not None
        described = document["paths"][path.replace("simulated", "{model}")]["post"]
        example = described["requestBody"]["content"]["application/json"]["example"]
        call = way[1].read_call(orjson.dumps(example), {}, path)
        assert call.model == "simulated"


def test_unknown_fields_are_allowed_in_every_object(document: Json) -> None:
    request = {**document["components"]["schemas"]["ChatCompletionRequest"], "components": document["components"]}
    jsonschema_rs.validate(
        request,
        {
            "model": "m",
            "messages": [{"role": "user", "content": [{"type": "hologram", "x": 1}], "extra": True}],
            "prompt_cache_options": {"mode": "explicit"},
            "tools": [{"type": "web_search", "y": 2}],
        },
    )
    closed = [
        name
        for name, schema in document["components"]["schemas"].items()
        if schema.get("type") == "object" and "additionalProperties" not in schema
    ]
    assert [name for name in closed if name not in {"HTTPValidationError", "ValidationError"}] == []


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "x"}]},
        {"model": "m"},
        {"model": "m", "messages": []},
        {"model": "", "messages": [{"role": "user", "content": "x"}]},
        {"model": "m", "messages": [{"content": "x"}]},
        {"model": "m", "messages": [{"role": "user", "content": 5}]},
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": "yes"},
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 129},
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 0},
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": "hot"},
    ],
)
def test_what_the_gateway_refuses_the_schema_refuses(document: Json, body: Json) -> None:
    request = {**document["components"]["schemas"]["ChatCompletionRequest"], "components": document["components"]}
    assert not jsonschema_rs.is_valid(request, body)
    with pytest.raises(TollkeeperError):
        OpenAIChat().read_call(orjson.dumps(body), {}, "")


def test_every_status_of_the_error_tree_is_documented(document: Json) -> None:
    def statuses(error: type[TollkeeperError]) -> set[int]:
        return {error.status}.union(
            *(statuses(child) for child in error.__subclasses__() if "core" in child.__module__)
        )

    for path in OPERATION_PATHS:
        responses = document["paths"]["/v1" + path]["post"]["responses"]
        documented = {int(status) for status in responses if status.isdigit()}
        assert statuses(TollkeeperError) - _NOT_OF_INFERENCE == documented - {200, 529}


def test_every_operation_has_a_name_of_its_own_a_tag_and_all_four_credentials(document: Json) -> None:
    ids = set()
    for _, _, operation in operations(document):
        ids.add(operation["operationId"])
        assert operation["tags"] == [TAG]
        assert [list(scheme) for scheme in operation["security"]] == [[name] for name in inference._SECURITY]
        for answer in operation["responses"].values():
            assert "x-request-id" in answer["headers"]
    assert len(ids) == len(list(operations(document)))
    schemes = document["components"]["securitySchemes"]
    assert {scheme.get("name", "authorization") for scheme in schemes.values()} == {
        "authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
    }


def test_streams_are_documented_where_there_are_streams(document: Json) -> None:
    streamed = {
        path
        for path, _, operation in operations(document)
        if "text/event-stream" in operation["responses"]["200"]["content"]
    }
    gemini = {prefix + "/models/{model}:streamGenerateContent" for prefix in GEMINI_PREFIXES}
    assert streamed == gemini | {
        prefix + path
        for prefix in PREFIXES
        for path in (
            *("/chat/completions", "/completions", "/responses", "/messages"),
            *("/images/generations", "/images/edits", "/audio/speech", "/audio/transcriptions"),
        )
    }


def test_control_planes_schema_of_the_same_name_is_not_overwritten_in_silence() -> None:
    class ChatMessage(BaseModel):
        mine: int

    app = FastAPI(title="t", version="1")

    @app.post("/mine")
    async def take(body: ChatMessage) -> None: ...

    with pytest.raises(AssertionError, match="ChatMessage"):
        with_inference_paths(app.openapi())


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
