"""Gemini's API in the OpenAPI document: the methods of a model, the list of models and Google's errors, for the document
alone. Names in snake_case are taken as well.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, RootModel

from tollkeeper.api.inference_operation import Json, Operation
from tollkeeper.api.inference_schemas import Wire

# The gateway's own list is `gateway.paths.GEMINI_PREFIXES`; a test holds the two together.
GEMINI_PREFIXES: Final = ("/v1beta", "/api/v1beta")

Count = Annotated[int, Field(ge=1, le=2**31)]


class GeminiPart(Wire):
    """One of them, beside `thought` and `thoughtSignature`, which come back as they were sent."""

    text: str | None = None
    inlineData: dict[str, Any] | None = None  # noqa: N815 - Google's names
    fileData: dict[str, Any] | None = None  # noqa: N815
    functionCall: dict[str, Any] | None = None  # noqa: N815
    functionResponse: dict[str, Any] | None = None  # noqa: N815
    thought: bool | None = None
    thoughtSignature: str | None = None  # noqa: N815


class GeminiContent(Wire):
    role: Literal["user", "model", "function", "tool"] | None = Field(None, description="`user` where it is missing.")
    parts: list[GeminiPart] | None = None


class GeminiFunction(Wire):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = Field(None, description="Google's part of OpenAPI's schema.")
    parametersJsonSchema: dict[str, Any] | None = None  # noqa: N815


class GeminiTool(Wire):
    """Functions of the caller's. Of Google's own tools the search works at other providers too; the rest is refused there."""

    functionDeclarations: list[GeminiFunction] | None = None  # noqa: N815
    googleSearch: dict[str, Any] | None = None  # noqa: N815


class GeminiGenerationConfig(Wire):
    temperature: Annotated[float, Field(ge=0)] | None = None
    topP: Annotated[float, Field(ge=0)] | None = None  # noqa: N815
    topK: Annotated[int, Field(ge=0)] | None = None  # noqa: N815
    candidateCount: Annotated[int, Field(ge=1, le=128)] | None = None  # noqa: N815
    maxOutputTokens: Count | None = None  # noqa: N815
    stopSequences: list[str] | None = None  # noqa: N815
    seed: int | None = None
    responseMimeType: str | None = None  # noqa: N815
    responseSchema: dict[str, Any] | None = None  # noqa: N815
    responseJsonSchema: dict[str, Any] | None = None  # noqa: N815
    thinkingConfig: dict[str, Any] | None = None  # noqa: N815


class GeminiRequest(Wire):
    contents: list[GeminiContent] = Field(min_length=1)
    systemInstruction: GeminiContent | None = None  # noqa: N815
    tools: list[GeminiTool] | None = None
    toolConfig: dict[str, Any] | None = None  # noqa: N815
    generationConfig: GeminiGenerationConfig | None = None  # noqa: N815
    safetySettings: list[dict[str, Any]] | None = None  # noqa: N815
    cachedContent: str | None = Field(None, description="Only at Google.")  # noqa: N815


class GeminiTokenCountRequest(Wire):
    """The contents, or a whole request that holds them."""

    contents: list[GeminiContent] | None = None
    generateContentRequest: GeminiRequest | None = None  # noqa: N815


class GeminiUsage(Wire):
    """Thoughts stand beside the candidates, cached tokens within the prompt."""

    promptTokenCount: int | None = None  # noqa: N815
    candidatesTokenCount: int | None = None  # noqa: N815
    thoughtsTokenCount: int | None = None  # noqa: N815
    cachedContentTokenCount: int | None = None  # noqa: N815
    totalTokenCount: int | None = None  # noqa: N815


class GeminiCandidate(Wire):
    content: GeminiContent | None = None
    finishReason: str | None = None  # noqa: N815
    index: int | None = None


class GeminiResponse(Wire):
    """Of a stream the same, piece by piece; a failure after its beginning is an element with `error` in its place."""

    candidates: list[GeminiCandidate] | None = None
    usageMetadata: GeminiUsage | None = None  # noqa: N815
    modelVersion: str | None = None  # noqa: N815
    responseId: str | None = None  # noqa: N815


class GeminiResponses(RootModel[list[GeminiResponse]]):
    """One array, written as it grows."""


class GeminiTokenCount(Wire):
    totalTokens: int  # noqa: N815


class GeminiEmbedRequest(Wire):
    content: GeminiContent
    outputDimensionality: Count | None = None  # noqa: N815
    taskType: str | None = None  # noqa: N815


class GeminiEmbedBatchRequest(Wire):
    requests: list[GeminiEmbedRequest] = Field(min_length=1, max_length=2048)


class GeminiEmbedding(Wire):
    values: list[float]


class GeminiEmbedResponse(Wire):
    embedding: GeminiEmbedding


class GeminiEmbedBatchResponse(Wire):
    embeddings: list[GeminiEmbedding]


class GeminiModel(Wire):
    name: str = Field(description="`models/` and the name.")
    displayName: str | None = None  # noqa: N815
    inputTokenLimit: int | None = None  # noqa: N815
    outputTokenLimit: int | None = None  # noqa: N815
    supportedGenerationMethods: list[str]  # noqa: N815


class GeminiModels(Wire):
    models: list[GeminiModel]
    nextPageToken: str | None = None  # noqa: N815


class GeminiStatus(Wire):
    code: int
    message: str
    status: str
    details: list[dict[str, Any]] = Field(description="Our stable code and the field at fault are in `ErrorInfo`.")


class GeminiErrorResponse(Wire):
    """`google.rpc.Status`."""

    error: GeminiStatus


_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_example(status: int, message: str, code: str, request_id: str) -> Json:
    word = _STATUSES.get(status, "INVALID_ARGUMENT")
    details = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": code.upper(),
            "domain": "tollkeeper",
            "metadata": {"code": code},
        },
        {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": request_id},
    ]
    return {"error": {"code": status, "message": message, "status": word, "details": details}}


_MODEL: Final[Json] = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "As in the list, without `models/`; slashes and colons as they are or percent-encoded.",
    "schema": {"type": "string", "minLength": 1},
    "example": "simulated",
}
_ALT: Final[Json] = {
    "name": "alt",
    "in": "query",
    "required": False,
    "description": "`sse`: server-sent events in the place of one array.",
    "schema": {"enum": ["sse"]},
    "example": "sse",
}
_PAGE: Final[tuple[Json, ...]] = (
    {
        "name": "pageSize",
        "in": "query",
        "required": False,
        "schema": {"type": "integer", "minimum": 0, "maximum": 1000},
    },
    {"name": "pageToken", "in": "query", "required": False, "schema": {"type": "string"}},
)
_REQUEST: Final[Json] = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
_PIECE: Final[Json] = {
    "candidates": [{"content": {"parts": [{"text": "Hello! How can I help?"}], "role": "model"}, "index": 0}],
    "modelVersion": "simulated",
    "responseId": "chatcmpl-1",
}
_ANSWER: Final[Json] = {
    **_PIECE,
    "candidates": [{**_PIECE["candidates"][0], "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14},
}
_ALIAS: Final = " Under `/v1` and `/api/v1` as well, which Google's newer clients use."
_EMBEDDED: Final[Json] = {"values": [0.25, -0.5]}

GEMINI: Final = (
    Operation(
        name="generate_content",
        method="post",
        path="/models/{model}:generateContent",
        summary="Generate content",
        description=(
            "Gemini's `generateContent`, for models of any provider. Of a provider that speaks this form too, the answer "
            "is relayed as it came. What another cannot be told stands in `x-tollkeeper-dropped`. The key comes in a "
            "header; one in the address is refused, because addresses are kept in logs." + _ALIAS
        ),
        request=GeminiRequest,
        request_example=_REQUEST,
        answer=GeminiResponse,
        answer_example=_ANSWER,
        parameters=(_MODEL,),
        error=GeminiErrorResponse,
        error_example=error_example,
    ),
    Operation(
        name="stream_generate_content",
        method="post",
        path="/models/{model}:streamGenerateContent",
        summary="Generate content, streamed",
        description="One JSON array that grows, or with `alt=sse` events." + _ALIAS,
        request=GeminiRequest,
        request_example=_REQUEST,
        answer=GeminiResponses,
        answer_example=[_PIECE, _ANSWER],
        chunk=GeminiResponse,
        chunk_example=_PIECE,
        parameters=(_MODEL, _ALT),
        error=GeminiErrorResponse,
        error_example=error_example,
    ),
    Operation(
        name="count_tokens",
        method="post",
        path="/models/{model}:countTokens",
        summary="Count the tokens of a request before it is sent",
        description="Counted here, for nothing, and rather too many than too few." + _ALIAS,
        request=GeminiTokenCountRequest,
        request_example=_REQUEST,
        answer=GeminiTokenCount,
        answer_example={"totalTokens": 8},
        parameters=(_MODEL,),
        error=GeminiErrorResponse,
        error_example=error_example,
    ),
    Operation(
        name="embed_content",
        method="post",
        path="/models/{model}:embedContent",
        summary="Embed one text",
        description="Gemini's embeddings, for embedding models of any provider." + _ALIAS,
        request=GeminiEmbedRequest,
        request_example={"content": {"parts": [{"text": "Hello"}]}},
        answer=GeminiEmbedResponse,
        answer_example={"embedding": _EMBEDDED},
        parameters=(_MODEL,),
        error=GeminiErrorResponse,
        error_example=error_example,
    ),
    Operation(
        name="batch_embed_contents",
        method="post",
        path="/models/{model}:batchEmbedContents",
        summary="Embed several texts",
        description="Up to 2,048, all with the same `outputDimensionality`." + _ALIAS,
        request=GeminiEmbedBatchRequest,
        request_example={"requests": [{"content": {"parts": [{"text": "Hello"}]}}]},
        answer=GeminiEmbedBatchResponse,
        answer_example={"embeddings": [_EMBEDDED]},
        parameters=(_MODEL,),
        error=GeminiErrorResponse,
        error_example=error_example,
    ),
    Operation(
        name="list_gemini_models",
        method="get",
        path="/models",
        summary="List the models that the key may call, in Google's shape",
        description="By name, in pages. `/v1/models` answers so to clients that send `x-goog-api-client`.",
        answer=GeminiModels,
        answer_example={"models": [{"name": "models/simulated", "supportedGenerationMethods": ["generateContent"]}]},
        parameters=_PAGE,
        error=GeminiErrorResponse,
        error_example=error_example,
    ),
    Operation(
        name="get_gemini_model",
        method="get",
        path="/models/{model}",
        summary="Show one model, in Google's shape",
        description="Names with slashes and colons stand in the path as they are, or percent-encoded.",
        answer=GeminiModel,
        answer_example={"name": "models/simulated", "supportedGenerationMethods": ["generateContent"]},
        parameters=(_MODEL,),
        error=GeminiErrorResponse,
        error_example=error_example,
    ),
)
