"""The bodies of inference calls, for the OpenAPI document alone: calls never pass through these models.

The gateway checks what it must know and carries every other field as it came, so each object here allows more fields.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Wire(BaseModel):
    model_config = ConfigDict(extra="allow")


ModelName = Annotated[
    str,
    Field(min_length=1, max_length=256, description="A model of `GET /v1/models`, or a name that a wildcard takes."),
]
Choices = Annotated[int, Field(ge=1, le=128)]
Count = Annotated[int, Field(ge=1, le=2**31)]
Penalty = Annotated[float, Field(ge=-2)]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class TextPart(Wire):
    type: Literal["text"]
    text: str


class ImageUrl(Wire):
    url: str = Field(description="An http(s) address, or a `data:` URI.")
    detail: str | None = Field(None, description="auto, low, high or original.")


class ImagePart(Wire):
    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(Wire):
    data: str = Field(description="Base64.")
    format: str = Field(description="wav or mp3.")


class AudioPart(Wire):
    type: Literal["input_audio"]
    input_audio: InputAudio


class FileContent(Wire):
    file_data: str | None = Field(None, description="A `data:` URI.")
    file_id: str | None = None
    filename: str | None = None


class FilePart(Wire):
    type: Literal["file"]
    file: FileContent


class RefusalPart(Wire):
    type: Literal["refusal"]
    refusal: str


class OtherPart(Wire):
    """A part of a kind not listed here; passed on as it is."""

    type: str


ContentPart = TextPart | ImagePart | AudioPart | FilePart | RefusalPart | OtherPart


class FunctionCall(Wire):
    name: str
    arguments: str = Field(description='A JSON document as a string; `"{}"` for none.')


class CustomCall(Wire):
    name: str
    input: str


class FunctionToolCall(Wire):
    id: str
    type: Literal["function"]
    function: FunctionCall


class CustomToolCall(Wire):
    id: str
    type: Literal["custom"]
    custom: CustomCall


ToolCall = FunctionToolCall | CustomToolCall


class ChatMessage(Wire):
    """One message of the conversation."""

    role: str = Field(description="developer, system, user, assistant, tool or function (deprecated).")
    content: str | list[ContentPart] | None = Field(
        None, description="Text, or parts. May be null in an assistant's message that has tool calls."
    )
    name: str | None = None
    tool_calls: list[ToolCall] | None = Field(None, description="An assistant's calls.")
    tool_call_id: str | None = Field(None, description="Required with the role tool: which call this answers.")
    refusal: str | None = None


class FunctionDefinition(Wire):
    name: str = Field(description="Letters, digits, `_` and `-`, at most 64.")
    description: str | None = None
    parameters: dict[str, Any] | None = Field(None, description="JSON Schema; absent for a function without arguments.")
    strict: bool | None = None


class FunctionTool(Wire):
    type: Literal["function"]
    function: FunctionDefinition


class OtherTool(Wire):
    """A tool of another kind, `custom` for example; passed on as it is."""

    type: str


class PlainFormat(Wire):
    type: Literal["text", "json_object"]


class JsonSchemaDefinition(Wire):
    name: str
    description: str | None = None
    # `schema` is a method of pydantic's models.
    schema_: dict[str, Any] | None = Field(None, alias="schema", description="JSON Schema of the answer.")
    strict: bool | None = None


class JsonSchemaFormat(Wire):
    type: Literal["json_schema"]
    json_schema: JsonSchemaDefinition


class StreamOptions(Wire):
    """Only with `stream: true`."""

    include_usage: bool | None = Field(
        None, description="One more chunk before `[DONE]`, with no choices and the usage of the whole call."
    )


class InferenceRequest(Wire):
    """What all inference calls share. Fields that are not listed reach the provider as they are."""

    model: ModelName
    user: str | None = Field(None, description="Deprecated by OpenAI; use `safety_identifier`.")
    safety_identifier: str | None = Field(None, description="Your end user; kept with the usage record.")


class ChatCompletionRequest(InferenceRequest):
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = Field(None, description="Answer with server-sent events.")
    stream_options: StreamOptions | None = None
    max_completion_tokens: Count | None = Field(None, description="Bound of the answer, reasoning included.")
    max_tokens: Count | None = Field(None, description="Deprecated by OpenAI; renamed where a model refuses it.")
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(ge=0)] | None = None
    n: Choices | None = Field(None, description="How many choices.")
    stop: str | list[str] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=2**31)] | None = None
    seed: int | None = None
    tools: list[FunctionTool | OtherTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: PlainFormat | JsonSchemaFormat | None = None
    reasoning_effort: str | None = Field(None, description="none, minimal, low, medium, high, xhigh or max.")
    verbosity: str | None = Field(None, description="low, medium or high.")
    service_tier: str | None = None
    metadata: dict[str, str] | None = None


class PromptTokensDetails(Wire):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None


class CompletionTokensDetails(Wire):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class Usage(Wire):
    """As the provider counted. The two numbers sum to the total."""

    prompt_tokens: int = Field(description="The input, cached tokens included.")
    completion_tokens: int = Field(description="The output, reasoning included.")
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


class AssistantMessage(Wire):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None = None
    tool_calls: list[ToolCall] = Field(default_factory=list, description="Absent when there are none.")


class ChatChoice(Wire):
    index: int
    message: AssistantMessage
    finish_reason: FinishReason
    logprobs: dict[str, Any] | None = None


class ChatCompletion(Wire):
    id: str
    object: Literal["chat.completion"]
    created: int = Field(description="Seconds since 1970.")
    model: str = Field(description="The provider's own name of the model.")
    choices: list[ChatChoice]
    usage: Usage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


class FunctionCallDelta(Wire):
    name: str | None = Field(None, description="In the first fragment of a call alone.")
    arguments: str | None = Field(None, description="A piece; the pieces of one index make the document.")


class ToolCallDelta(Wire):
    index: int
    id: str | None = Field(None, description="In the first fragment of a call alone.")
    type: str | None = None
    function: FunctionCallDelta | None = None


class ChatDelta(Wire):
    role: Literal["assistant"] | None = Field(None, description="In the first delta of a choice alone.")
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class ChatChunkChoice(Wire):
    index: int
    delta: ChatDelta
    finish_reason: FinishReason | None = Field(description="Null until the choice ends.")
    logprobs: dict[str, Any] | None = None


class ChatCompletionChunk(Wire):
    """The data of one event. `data: [DONE]` ends the stream; a line that begins with `:` is a comment.

    A failure after the stream has begun is an event with an `error` object in place of a chunk.
    """

    id: str = Field(description="The same in every chunk, as are `created` and `model`.")
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatChunkChoice] = Field(description="Empty in the chunk that carries the usage.")
    usage: Usage | None = None


Prompt = str | list[str] | list[int] | list[list[int]]


class CompletionRequest(InferenceRequest):
    prompt: Prompt = Field(description="Text, texts, tokens, or arrays of tokens.")
    suffix: str | None = None
    stream: bool | None = Field(None, description="Answer with server-sent events.")
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(ge=0)] | None = None
    n: Choices | None = None
    best_of: Count | None = None
    echo: bool | None = None
    stop: str | list[str] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logprobs: Annotated[int, Field(ge=0, le=2**31)] | None = None
    seed: int | None = None


class CompletionChoice(Wire):
    index: int
    text: str
    finish_reason: FinishReason | None
    logprobs: dict[str, Any] | None = None


class Completion(Wire):
    """Whole, and the data of each event of a stream as well."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None


class EmbeddingRequest(InferenceRequest):
    input: Prompt = Field(
        description="A text, up to 2,048 texts, tokens, or arrays of tokens (only where the provider reads tokens)."
    )
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="base64: little-endian 32-bit floats. Converted when the provider answers in the other form."
    )
    dimensions: Count | None = None


class Embedding(Wire):
    object: Literal["embedding"]
    index: int = Field(description="Of the input it belongs to; the list is in this order.")
    embedding: list[float] | str


class EmbeddingUsage(Wire):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Wire):
    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage | None = None


class Model(Wire):
    id: str
    object: Literal["model"]
    created: int = Field(description="Seconds since 1970.")
    owned_by: str


class ModelList(Wire):
    """What the key may call, by name. Wildcards answer for names and are not listed."""

    object: Literal["list"]
    data: list[Model]


class ErrorDetail(Wire):
    message: str = Field(description="What happened and what to do next.")
    type: str
    param: str | None = Field(description="The field or header at fault.")
    code: str | None = Field(description="Stable; programs compare this.")
    request_id: str | None = Field(None, description="The same as the header `x-request-id`.")


class ErrorResponse(Wire):
    """OpenAI's shape of an error."""

    error: ErrorDetail
