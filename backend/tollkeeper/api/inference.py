"""The inference paths in the OpenAPI document. The router never sees them: the gateway serves them before it.

`with_inference_paths` takes the control plane's document and adds them under `/v1` and `/api/v1` alike; the schemas are
in `inference_schemas`.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tollkeeper.api import inference_schemas as schemas
from tollkeeper.api.inference_beyond import BEYOND
from tollkeeper.api.inference_files import FILES
from tollkeeper.api.inference_gemini import GEMINI, GEMINI_PREFIXES
from tollkeeper.api.inference_media import MEDIA
from tollkeeper.api.inference_messages import MESSAGES
from tollkeeper.api.inference_operation import Json, Operation
from tollkeeper.api.inference_responses import RESPONSES

TAG: Final = "Inference"
# The gateway's own list is `gateway.app.PREFIXES`; a test holds the two together.
PREFIXES: Final = ("/v1", "/api/v1")
_REF: Final = "#/components/schemas/"
_CREATED: Final = 1_790_000_000
_ID: Final = "req_0192f0c1a2b37c4d8e5f60718293a4b5"

_USAGE: Final[Json] = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
_OPERATIONS: Final = (
    Operation(
        name="create_chat_completion",
        method="post",
        path="/chat/completions",
        summary="Create a chat completion",
        description=(
            "OpenAI's chat completions, whole or streamed. Bytes that nobody changed are relayed as they came; fields "
            "that are not listed here reach the provider as they are. What the provider's model cannot take and the "
            "gateway left out stands in `x-tollkeeper-dropped`."
        ),
        request=schemas.ChatCompletionRequest,
        request_example={"model": "simulated", "messages": [{"role": "user", "content": "Hello"}]},
        answer=schemas.ChatCompletion,
        answer_example={
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": _CREATED,
            "model": "simulated",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hello! How can I help?", "refusal": None},
                    "finish_reason": "stop",
                    "logprobs": None,
                }
            ],
            "usage": _USAGE,
        },
        chunk=schemas.ChatCompletionChunk,
        chunk_example={
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": _CREATED,
            "model": "simulated",
            "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}],
        },
    ),
    Operation(
        name="create_completion",
        method="post",
        path="/completions",
        summary="Create a completion (legacy)",
        description="OpenAI's legacy completions: a prompt in, text out, whole or streamed.",
        request=schemas.CompletionRequest,
        request_example={"model": "simulated", "prompt": "Once upon a time", "max_tokens": 16},
        answer=schemas.Completion,
        answer_example={
            "id": "cmpl-1",
            "object": "text_completion",
            "created": _CREATED,
            "model": "simulated",
            "choices": [{"index": 0, "text": " there was a gateway.", "finish_reason": "stop", "logprobs": None}],
            "usage": _USAGE,
        },
        chunk=schemas.Completion,
        chunk_example={
            "id": "cmpl-1",
            "object": "text_completion",
            "created": _CREATED,
            "model": "simulated",
            "choices": [{"index": 0, "text": " there", "finish_reason": None, "logprobs": None}],
        },
    ),
    Operation(
        name="create_embeddings",
        method="post",
        path="/embeddings",
        summary="Create embeddings",
        description="OpenAI's embeddings, as numbers or as base64, whichever was asked for.",
        request=schemas.EmbeddingRequest,
        request_example={"model": "simulated-embedding", "input": ["one", "two"], "encoding_format": "float"},
        answer=schemas.EmbeddingList,
        answer_example={
            "object": "list",
            "model": "simulated-embedding",
            "data": [
                {"object": "embedding", "index": 0, "embedding": [0.25, -0.5]},
                {"object": "embedding", "index": 1, "embedding": [0.125, 0.75]},
            ],
            "usage": {"prompt_tokens": 2, "total_tokens": 2},
        },
    ),
    Operation(
        name="list_models",
        method="get",
        path="/models",
        summary="List the models that the key may call",
        description=(
            "By name. A key of the environment `test` sees the simulated ones. With the header `anthropic-version` in "
            "Anthropic's shape, in pages (`limit`, `after_id`, `before_id`)."
        ),
        answer=schemas.ModelList,
        answer_example={
            "object": "list",
            "data": [{"id": "simulated", "object": "model", "created": _CREATED, "owned_by": "tollkeeper"}],
        },
    ),
    Operation(
        name="get_model",
        method="get",
        path="/models/{model}",
        summary="Show one model",
        description="Names with slashes and colons stand in the path as they are, or percent-encoded.",
        answer=schemas.Model,
        answer_example={"id": "simulated", "object": "model", "created": _CREATED, "owned_by": "tollkeeper"},
        parameters=(
            {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}, "example": "simulated"},
        ),
    ),
    *RESPONSES,
    *MEDIA,
    *FILES,
    *MESSAGES,
    *BEYOND,
)

# The schemes of one credential: whichever header carries it, it is read by one function.
_SECURITY: Final[Json] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key (`tk-…`), or an access token together with `x-tollkeeper-key-id`.",
    },
    "x_api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "api_key": {"type": "apiKey", "in": "header", "name": "api-key"},
    "x_goog_api_key": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
}

_REQUEST_HEADERS: Final[Mapping[str, Json]] = {
    "x-tollkeeper-timeout-ms": {
        "description": "How long you will wait: the deadline of the whole call, in milliseconds.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    },
    "x-tollkeeper-priority": {
        "description": (
            "While more calls are there than can be served, higher ones come first. `high` needs the tenant's "
            "flag `priority_calls`."
        ),
        "schema": {"enum": ["high", "normal", "low", "batch"], "default": "normal"},
    },
    "x-tollkeeper-key-id": {
        "description": "With an access token in place of a key: as which of your keys to act.",
        "schema": {"type": "string", "pattern": "^key_[0-9a-f]{32}$"},
    },
    "x-client-request-id": {
        "description": "Your own name of the call; kept with its usage record. Our id is `x-request-id` of the answer.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:/+=@-]{1,128}$"},
    },
}

_TEXT: Final[Json] = {"type": "string"}
_NUMBER: Final[Json] = {"type": "string", "pattern": r"^\d+$"}
_ALWAYS: Final[Mapping[str, tuple[str, Json]]] = {
    "x-request-id": ("Our id of this call; quote it when you report a problem.", _TEXT),
    "openai-processing-ms": ("Milliseconds from the first byte to the answer's headers.", _NUMBER),
    "x-tollkeeper-overhead-ms": ("The gateway's own share of that time.", _TEXT),
}
_SERVED: Final[Mapping[str, tuple[str, Json]]] = {
    "x-tollkeeper-provider": ("The provider that answered.", _TEXT),
    "x-tollkeeper-model": ("The provider's name of the model.", _TEXT),
    "x-tollkeeper-attempts": ("How many targets were asked.", _NUMBER),
    "x-tollkeeper-cost-usd": (
        "What the call is charged. A stream tells it in a comment before `[DONE]`, when it is known.",
        {"type": "string", "pattern": r"^\d+(\.\d+)?$"},
    ),
    "x-tollkeeper-stored": (
        "`false` where an answer of the Responses API was to be kept and is not. A stream tells it in a comment.",
        {"enum": ["false"]},
    ),
    "x-tollkeeper-dropped": ("Fields the provider's model cannot take, comma separated.", _TEXT),
    "x-tollkeeper-applied-params": (
        "Fields that were set here, comma separated: `temperature=default,top_p=override,max_tokens=model`.",
        _TEXT,
    ),
    "x-ratelimit-limit-requests": ("Requests allowed in the period of the narrowest limit.", _NUMBER),
    "x-ratelimit-remaining-requests": ("How many of them are left now.", _NUMBER),
    "x-ratelimit-reset-requests": ("When all are there again, as a duration: `1s`, `6m0s`, `12ms`.", _TEXT),
}
_RETRY: Final[Mapping[str, tuple[str, Json]]] = {
    "retry-after": ("Seconds to wait, at most 120.", _NUMBER),
    "retry-after-ms": ("The same in milliseconds.", _NUMBER),
    "x-should-retry": ("`false` where waiting will not help; OpenAI's SDKs obey it.", {"enum": ["true", "false"]}),
}

# status → what it means, and the code of its example
_ERRORS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("The body is not JSON, or a field does not fit; or the provider refused the call.", "invalid_value"),
    401: ("No credential, or one that is unknown, revoked or expired.", "invalid_api_key"),
    403: ("The key may not do this: its scope, its models, its tenant.", "permission_denied"),
    404: ("No such thing, or not one this key may use.", "model_not_found"),
    408: ("The body did not arrive in time.", "request_timeout"),
    413: ("The body is larger than `TOLLKEEPER_MAX_BODY_BYTES`.", "payload_too_large"),
    415: (
        "The body is not of a type that this path takes, JSON in UTF-8, or it is compressed.",
        "unsupported_media_type",
    ),
    429: ("A rate limit of the key or of the tenant is used up, or the provider's is.", "rate_limit_exceeded"),
    500: ("A fault of the gateway.", "internal_error"),
    502: ("The provider failed, or answered with something that is no answer.", "upstream_error"),
    503: (
        "No target is left, a store the call needs does not answer, or more calls are there than can be served.",
        "no_target_available",
    ),
    504: ("The provider did not answer in time.", "upstream_timeout"),
}
_PHRASES: Final[Mapping[int, str]] = {status.value: status.phrase for status in HTTPStatus}
_ERRORS_OF_A_LOOK: Final = frozenset({400, 401, 403, 500, 503})
_ERRORS_OF_AN_UPLOAD: Final = frozenset({408, 413, 415, 429})


def with_inference_paths(document: Json) -> Json:
    """The document with the inference operations, their schemas, their credentials and their tag."""
    components = document.get("components", {})
    known = components.get("schemas", {})
    ours = _schemas()
    clashes = sorted(name for name in ours if name in known and known[name] != ours[name])
    assert not clashes, f"two schemas of one name: {clashes}"
    return {
        **document,
        "paths": {**document.get("paths", {}), **_paths()},
        "components": {
            **components,
            "schemas": {**known, **ours},
            "securitySchemes": {**components.get("securitySchemes", {}), **_SECURITY},
        },
        "tags": [
            {"name": TAG, "description": "Calls to models, in the wire formats of OpenAI, Anthropic and Google."},
            *document.get("tags", []),
        ],
    }


def _schemas() -> Json:
    models: dict[str, type[BaseModel]] = {"ErrorResponse": schemas.ErrorResponse}
    for operation in (*_OPERATIONS, *GEMINI):
        for model in (operation.request, operation.answer, operation.chunk, operation.error):
            if model is not None:
                models[model.__name__] = model
    _, generated = models_json_schema(
        [(model, "validation") for model in models.values()], by_alias=True, ref_template=_REF + "{model}"
    )
    definitions: Json = generated["$defs"]
    return definitions


def _paths() -> Json:
    paths: Json = {}
    for prefix, suffix in zip(PREFIXES, ("", "_under_api"), strict=True):
        for operation in _OPERATIONS:
            paths.setdefault(prefix + operation.path, {})[operation.method] = _operation(operation, suffix)
    for prefix, suffix in zip(GEMINI_PREFIXES, ("", "_under_api"), strict=True):
        for operation in GEMINI:
            paths[prefix + operation.path] = {operation.method: _operation(operation, suffix)}
    return paths


def _operation(operation: Operation, suffix: str) -> Json:
    headers = [{"name": name, "in": "header", "required": False, **header} for name, header in _REQUEST_HEADERS.items()]
    parameters = [*operation.parameters, *headers]
    written: Json = {
        "tags": [TAG],
        "operationId": f"inference_{operation.name}{suffix}",
        "summary": operation.summary,
        "description": operation.description,
        "security": [{name: []} for name in _SECURITY],
        "parameters": parameters,
        "responses": _responses(operation),
    }
    if operation.request is not None:
        content = _content(operation.request, operation.request_example)
        written["requestBody"] = {"required": True, "content": dict.fromkeys(operation.request_types, content)}
    return written


def _responses(operation: Operation) -> Json:
    content: Json = {}
    if operation.answer is not None:
        content["application/json"] = _content(operation.answer, operation.answer_example)
    for kind, example in operation.answer_texts.items():
        content[kind] = {"schema": _TEXT, "example": example}
    if operation.chunk is not None:
        # As OpenAI's own document has it: the schema is that of one event's data.
        content["text/event-stream"] = _content(operation.chunk, operation.chunk_example)
    is_served = operation.request is not None and operation.is_call
    headers = {**_ALWAYS, **(_SERVED if is_served else {})}
    description = "The answer" if operation.chunk is None else "The answer, or its events where they are asked for"
    answers: Json = {"200": {"description": description, "headers": _headers(headers), "content": content}}
    for status, (meaning, code) in _ERRORS.items():
        is_possible = status in _ERRORS_OF_A_LOOK or (
            operation.request is not None and (operation.is_call or status in _ERRORS_OF_AN_UPLOAD)
        )
        if is_possible or (status == 404 and "{" in operation.path):
            answers[str(status)] = _error(operation, status, meaning, code)
    for status, meaning, code in operation.errors:
        answers[str(status)] = _error(operation, status, meaning, code)
    if is_served:
        answers["4XX"] = {
            **_error(
                operation, 422, "A refusal of the provider that has no meaning of its own here.", "upstream_error"
            ),
            "headers": _headers(_ALWAYS),
        }
    return answers


def _error(operation: Operation, status: int, meaning: str, code: str) -> Json:
    headers: Mapping[str, tuple[str, Json]] = _ALWAYS
    if status in {429, 500, 502, 503, 504, 529}:
        headers = {**_ALWAYS, **_RETRY}
    elif status == 401:
        headers = {**_ALWAYS, "www-authenticate": ("`Bearer`.", _TEXT)}
    model = operation.error or schemas.ErrorResponse
    write = operation.error_example or _openai_error
    example = write(status, f"{_PHRASES.get(status, 'Overloaded')}: {meaning}", code, _ID)
    content = {"application/json": _content(model, example)}
    return {"description": meaning, "headers": _headers(headers), "content": content}


def _openai_error(status: int, message: str, code: str, request_id: str) -> Json:
    return {
        "error": {
            "message": message,
            "type": "server_error" if status >= 500 else "invalid_request_error",
            "param": None,
            "code": code,
            "request_id": request_id,
        }
    }


def _content(model: type[BaseModel], example: Json | list[Json] | None) -> Json:
    return {"schema": {"$ref": _REF + model.__name__}, "example": example}


def _headers(headers: Mapping[str, tuple[str, Json]]) -> Json:
    return {name: {"description": description, "schema": schema} for name, (description, schema) in headers.items()}
