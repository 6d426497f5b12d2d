"""OpenAI's Responses API in the OpenAPI document: its operations and their bodies, for the document alone."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from tollkeeper.api.inference_operation import Json, Operation
from tollkeeper.api.inference_schemas import Count, InferenceRequest, Wire

_CREATED: Final = 1_790_000_000
_RESPONSE: Final = "resp_0192f0c1a2b37c4d8e5f60718293a4b5"
_PATH: Final[Json] = {
    "name": "response_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^resp_[0-9a-f]{32}$"},
    "example": _RESPONSE,
}


class ResponseTextPart(Wire):
    type: Literal["input_text", "output_text"]
    text: str


class ResponseOtherPart(Wire):
    type: str = Field(description="input_image, input_file, input_audio, refusal …")


class ResponseMessage(Wire):
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[ResponseTextPart | ResponseOtherPart]


class ResponseItem(Wire):
    """Anything but a message: a tool call, its output, reasoning, a reference to an item of a stored response."""

    type: str | None = Field(
        None, description="function_call, function_call_output, custom_tool_call, reasoning, item_reference …"
    )


class ResponseTool(Wire):
    type: str = Field(description="function or custom; others where the provider speaks this API itself.")
    name: str | None = None


class ResponseReasoning(Wire):
    effort: str | None = Field(None, description="none, minimal, low, medium, high, xhigh or max.")
    summary: str | None = None


class ResponseText(Wire):
    format: dict[str, Any] | None = Field(None, description="text, json_object or json_schema.")
    verbosity: str | None = None


class ResponseInput(InferenceRequest):
    input: Annotated[str | list[ResponseMessage | ResponseItem], Field(min_length=1)]
    instructions: str | None = Field(None, description="Of this turn alone.")
    previous_response_id: str | None = Field(
        None, description="A stored response that this turn goes on from.", pattern="^resp_[0-9a-f]{32}$"
    )
    tools: list[ResponseTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    reasoning: ResponseReasoning | None = None
    text: ResponseText | None = None


class ResponseRequest(ResponseInput):
    stream: bool | None = Field(None, description="Answer with server-sent events.")
    store: bool | None = Field(None, description="False: nothing is kept. Else for `TOLLKEEPER_STORED_RESPONSE_DAYS`.")
    max_output_tokens: Count | None = Field(None, description="Bound of the answer, reasoning included.")
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(ge=0)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=2**31)] | None = None
    parallel_tool_calls: bool | None = None
    include: list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None


class ResponseUsage(Wire):
    input_tokens: int
    input_tokens_details: dict[str, Any]
    output_tokens: int
    output_tokens_details: dict[str, Any]
    total_tokens: int


class ResponseObject(Wire):
    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    model: str
    output: list[ResponseItem]
    previous_response_id: str | None
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    usage: ResponseUsage | None
    store: bool
    metadata: dict[str, str]


class ResponseEvent(Wire):
    """One event; its SSE name is its type."""

    type: str
    sequence_number: int


class ResponseItemList(Wire):
    object: Literal["list"]
    data: list[ResponseItem]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ResponseDeleted(Wire):
    id: str
    object: Literal["response"]
    deleted: Literal[True]


class ResponseInputTokens(Wire):
    object: Literal["response.input_tokens"]
    input_tokens: int


_ITEM: Final[Json] = {
    "type": "message",
    "id": "msg_1",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello!", "annotations": [], "logprobs": []}],
}
_EXAMPLE: Final[Json] = {
    "id": _RESPONSE,
    "object": "response",
    "created_at": _CREATED,
    "completed_at": _CREATED,
    "status": "completed",
    "model": "simulated",
    "output": [_ITEM],
    "previous_response_id": None,
    "error": None,
    "incomplete_details": None,
    "usage": {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 14,
    },
    "store": True,
    "metadata": {},
}
RESPONSES: Final = (
    Operation(
        name="create_response",
        method="post",
        path="/responses",
        summary="Create a response",
        description=(
            "OpenAI's Responses API over any provider, whole or with all events. Answers are kept unless `store` is "
            "false, so that `previous_response_id` and `item_reference` find them. `background` and `conversation` are "
            "refused; the provider's own tools too, unless it speaks this API itself."
        ),
        request=ResponseRequest,
        request_example={"model": "simulated", "input": "Hello"},
        answer=ResponseObject,
        answer_example=_EXAMPLE,
        chunk=ResponseEvent,
        chunk_example={
            "type": "response.output_text.delta",
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": "Hello",
            "logprobs": [],
            "sequence_number": 4,
        },
    ),
    Operation(
        name="count_response_input_tokens",
        method="post",
        path="/responses/input_tokens",
        summary="Count the input of a response",
        description="Free. Never fewer than the provider would count; earlier turns are counted with it.",
        request=ResponseInput,
        request_example={"model": "simulated", "input": "Hello"},
        answer=ResponseInputTokens,
        answer_example={"object": "response.input_tokens", "input_tokens": 9},
    ),
    Operation(
        name="get_response",
        method="get",
        path="/responses/{response_id}",
        summary="Show a stored response",
        description="Of the key's own tenant, project and environment; any other is unknown.",
        answer=ResponseObject,
        answer_example=_EXAMPLE,
        parameters=(_PATH,),
    ),
    Operation(
        name="delete_response",
        method="delete",
        path="/responses/{response_id}",
        summary="Delete a stored response",
        description="Conversations that went through it cannot go on.",
        answer=ResponseDeleted,
        answer_example={"id": _RESPONSE, "object": "response", "deleted": True},
        parameters=(_PATH,),
    ),
    Operation(
        name="list_response_input_items",
        method="get",
        path="/responses/{response_id}/input_items",
        summary="List what a stored response was made of",
        description="The items of its own turn and of those before it, the latest first.",
        answer=ResponseItemList,
        answer_example={
            "object": "list",
            "data": [{"type": "message", "id": "msg_2", "role": "user", "content": []}],
            "first_id": "msg_2",
            "last_id": "msg_2",
            "has_more": False,
        },
        parameters=(
            _PATH,
            {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            },
            {"name": "order", "in": "query", "schema": {"enum": ["asc", "desc"], "default": "desc"}},
            {"name": "after", "in": "query", "schema": {"type": "string"}, "description": "The id of an item."},
        ),
    ),
)
