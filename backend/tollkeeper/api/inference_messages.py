"""Anthropic's Messages in the OpenAPI document: its operations, their bodies and its errors, for the document alone."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from tollkeeper.api.inference_operation import Json, Operation
from tollkeeper.api.inference_schemas import ModelName, Wire

_VERSION: Final[Json] = {
    "name": "anthropic-version",
    "in": "header",
    "required": False,
    "description": "Any. On other paths it asks for Anthropic's shape of models and errors.",
    "schema": {"type": "string"},
    "example": "2026-10-21",
}


class MessageBlock(Wire):
    type: str = Field(
        description="text, image, document, search_result, thinking, redacted_thinking, tool_use, tool_result …"
    )


class MessageParam(Wire):
    role: Literal["user", "assistant", "system"]
    content: str | list[MessageBlock]


class MessageTool(Wire):
    """A tool of the caller's, with `input_schema`; or by its `type` one that only Anthropic has."""

    type: str | None = None
    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class MessageToolChoice(Wire):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class MessageMetadata(Wire):
    user_id: str | None = Field(None, description="Your end user; kept with the usage record.")


class MessageOutputConfig(Wire):
    effort: str | None = Field(None, description="low, medium, high, xhigh or max.")
    format: dict[str, Any] | None = Field(None, description="json_schema, with its schema.")


class MessageTokenCountRequest(Wire):
    model: ModelName
    messages: list[MessageParam] = Field(min_length=1)
    system: str | list[MessageBlock] | None = None
    tools: list[MessageTool] | None = None
    tool_choice: MessageToolChoice | None = None
    thinking: dict[str, Any] | None = Field(None, description="Others than Anthropic get a budget as an effort.")
    output_config: MessageOutputConfig | None = None


class MessageRequest(MessageTokenCountRequest):
    max_tokens: Annotated[int, Field(ge=0, le=2**31)] = Field(description="Bound of the answer, thinking included.")
    stream: bool | None = Field(None, description="Answer with server-sent events.")
    stop_sequences: list[str] | None = Field(None, description="Others than Anthropic see the first four.")
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(ge=0)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    metadata: MessageMetadata | None = None
    service_tier: str | None = None
    cache_control: dict[str, Any] | None = None


class MessageUsage(Wire):
    """`input_tokens` are those neither read from nor written to a prompt cache."""

    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class Message(Wire):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[MessageBlock]
    stop_reason: str | None
    stop_sequence: str | None
    usage: MessageUsage


class MessageEvent(Wire):
    """The data of one event. Its name stands before it in the stream's `event:` line."""

    type: str = Field(
        description="message_start, content_block_start, content_block_delta, content_block_stop, message_delta, "
        "message_stop, ping or error."
    )
    index: int | None = None


class MessageTokenCount(Wire):
    input_tokens: int


class MessageErrorDetails(Wire):
    error_code: str = Field(description="Stable, and the same in all dialects.")
    param: str | None = None


class MessageError(Wire):
    type: str
    message: str
    details: MessageErrorDetails


class MessageErrorResponse(Wire):
    type: Literal["error"]
    error: MessageError
    request_id: str


# By status; others: by their hundred.
_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_example(status: int, message: str, code: str, request_id: str) -> Json:
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": message, "details": {"error_code": code}},
        "request_id": request_id,
    }


_OVERLOADED: Final = ((529, "No provider of this model has room.", "no_target_available"),)
_REQUEST: Final[Json] = {"model": "simulated", "messages": [{"role": "user", "content": "Hello"}]}

MESSAGES: Final = (
    Operation(
        name="create_message",
        method="post",
        path="/messages",
        summary="Create a message",
        description=(
            "Anthropic's Messages, whole or streamed, for models of any provider. Of a provider that speaks this form "
            "too, the answer is relayed as it came. What another cannot be told stands in `x-tollkeeper-dropped`; tools "
            "that Anthropic runs itself are refused there. 503 is 529 here where a provider has no room."
        ),
        request=MessageRequest,
        request_example={**_REQUEST, "max_tokens": 64},
        answer=Message,
        answer_example={
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "simulated",
            "content": [{"type": "text", "text": "Hello! How can I help?"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 9, "output_tokens": 5},
        },
        chunk=MessageEvent,
        chunk_example={
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Hello"},
        },
        parameters=(_VERSION,),
        error=MessageErrorResponse,
        error_example=error_example,
        errors=_OVERLOADED,
    ),
    Operation(
        name="count_message_tokens",
        method="post",
        path="/messages/count_tokens",
        summary="Count the tokens of a message before it is sent",
        description=(
            "For nothing, under the key's limits of requests. Anthropic is asked for its own models; the rest is counted "
            "here, exactly as OpenAI's models count texts, and by the upper of what was measured for others, so that it is "
            "rather too many than too few."
        ),
        request=MessageTokenCountRequest,
        request_example=_REQUEST,
        answer=MessageTokenCount,
        answer_example={"input_tokens": 8},
        parameters=(_VERSION,),
        error=MessageErrorResponse,
        error_example=error_example,
        errors=_OVERLOADED,
    ),
)
