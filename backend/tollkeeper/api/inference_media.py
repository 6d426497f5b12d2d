"""Moderations, pictures, sound and rankings in the OpenAPI document: their operations and bodies, for the document alone."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from tollkeeper.api.inference_operation import Json, Operation
from tollkeeper.api.inference_schemas import Choices, Count, InferenceRequest, Wire

_CREATED: Final = 1_790_000_000
_JSON: Final = "application/json"
_FORM: Final = "multipart/form-data"
_PLAIN: Final = "text/plain"
_SOUNDS: Final = (
    *("audio/mpeg", "audio/ogg", "audio/aac", "audio/flac", "audio/wav", "audio/pcm"),
    "application/octet-stream",
)
_FILE: Final[Json] = {"format": "binary"}
_PICTURE: Final = "iVBORw0KGgo="
_TOKENS: Final[Json] = {"input_tokens": 9, "output_tokens": 272, "total_tokens": 281}

Text = Annotated[str, Field(min_length=1)]
File = Annotated[str, Field(json_schema_extra=_FILE)]


class ModerationPart(Wire):
    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: dict[str, Any] | None = None


class ModerationRequest(Wire):
    model: str | None = Field(None, description="`omni-moderation-latest` where none is named.")
    input: Annotated[str | list[str] | list[ModerationPart], Field(min_length=1)]


class ModerationResult(Wire):
    flagged: bool
    categories: dict[str, bool] | None = None
    category_scores: dict[str, float] | None = None


class Moderation(Wire):
    id: str
    model: str
    results: list[ModerationResult]


class ImageRequest(InferenceRequest):
    prompt: Text
    n: Choices | None = None
    size: str | None = Field(None, description="auto, or width and height: 1024x1024.")
    quality: str | None = Field(None, description="low, medium, high or auto.")
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None


class ImageReference(Wire):
    image_url: str | None = None
    file_id: str | None = None


class ImageEditRequest(ImageRequest):
    image: File | list[File] | None = Field(None, description="Files of a form: `image` or `image[]`, at most 16.")
    images: list[ImageReference] | None = Field(None, description="In JSON: the addresses of the pictures.")
    mask: File | ImageReference | None = None
    input_fidelity: str | None = None


class ImageVariationRequest(InferenceRequest):
    image: File
    n: Choices | None = None
    size: str | None = None


class Picture(Wire):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class Images(Wire):
    created: int
    data: list[Picture]
    usage: dict[str, Any] | None = None


class MediaEvent(Wire):
    type: str = Field(description="What happened; the last event ends in `.completed` or `.done`.")


class SpeechRequest(InferenceRequest):
    input: Text
    voice: str | dict[str, Any]
    response_format: str | None = Field(None, description="mp3, opus, aac, flac, wav or pcm.")
    speed: float | None = None
    instructions: str | None = None
    stream_format: Literal["audio", "sse"] | None = None


class TranscriptionRequest(InferenceRequest):
    file: File = Field(description="At most 25 MB.")
    response_format: str | None = Field(None, description="json, verbose_json, text, srt or vtt.")
    language: str | None = None
    prompt: str | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    stream: bool | None = None


class TranslationRequest(InferenceRequest):
    file: File = Field(description="At most 25 MB.")
    response_format: str | None = Field(None, description="json, verbose_json, text, srt or vtt.")
    prompt: str | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None


class Transcription(Wire):
    text: str
    usage: dict[str, Any] | None = None


class RerankRequest(InferenceRequest):
    query: Text
    documents: Annotated[list[str | dict[str, Any]], Field(min_length=1, max_length=10_000)]
    top_n: Count | None = None
    return_documents: bool | None = None


class Ranked(Wire):
    index: int
    relevance_score: float


class Ranking(Wire):
    results: list[Ranked]
    meta: dict[str, Any] | None = None


_IMAGES: Final[Json] = {"created": _CREATED, "data": [{"b64_json": _PICTURE}], "usage": _TOKENS}
_TRANSCRIPT: Final[Json] = {"text": "Hello.", "usage": {"type": "duration", "seconds": 2}}

MEDIA: Final = (
    Operation(
        name="create_moderation",
        method="post",
        path="/moderations",
        summary="Judge texts and pictures",
        description="OpenAI's moderations, as the provider judges.",
        request=ModerationRequest,
        request_example={"model": "simulated", "input": "A kind word."},
        answer=Moderation,
        answer_example={"id": "modr-1", "model": "simulated", "results": [{"flagged": False}]},
    ),
    Operation(
        name="create_image",
        method="post",
        path="/images/generations",
        summary="Make pictures",
        description="OpenAI's images, whole or with partial pictures as events. Held by size and quality, or by the picture.",
        request=ImageRequest,
        request_example={"model": "simulated", "prompt": "A toll house by the road.", "size": "1024x1024"},
        answer=Images,
        answer_example=_IMAGES,
        chunk=MediaEvent,
        chunk_example={"type": "image_generation.completed", "b64_json": _PICTURE, "usage": _TOKENS},
    ),
    Operation(
        name="edit_image",
        method="post",
        path="/images/edits",
        summary="Change pictures",
        description="Files in a form, which goes to the provider as it came, or addresses in JSON.",
        request=ImageEditRequest,
        request_example={"model": "simulated", "prompt": "Add a hat.", "image": "(the file)"},
        request_types=(_FORM, _JSON),
        answer=Images,
        answer_example=_IMAGES,
        chunk=MediaEvent,
        chunk_example={"type": "image_edit.completed", "b64_json": _PICTURE},
    ),
    Operation(
        name="vary_image",
        method="post",
        path="/images/variations",
        summary="Make variations of a picture",
        description="A file in a form, which goes to the provider as it came.",
        request=ImageVariationRequest,
        request_example={"model": "simulated", "image": "(the file)"},
        request_types=(_FORM,),
        answer=Images,
        answer_example=_IMAGES,
    ),
    Operation(
        name="create_speech",
        method="post",
        path="/audio/speech",
        summary="Say a text",
        description=(
            "The sound is relayed while it is made, in the type that was asked for. One that breaks ends in a cut "
            "connection, never in a file that looks whole."
        ),
        request=SpeechRequest,
        request_example={"model": "simulated", "input": "Hello.", "voice": "alloy"},
        answer=None,
        answer_texts=dict.fromkeys(_SOUNDS, "(sound)"),
        chunk=MediaEvent,
        chunk_example={"type": "speech.audio.delta", "audio": "AAAA"},
    ),
    Operation(
        name="create_transcription",
        method="post",
        path="/audio/transcriptions",
        summary="Write down what is said",
        description=(
            "A file in a form, which goes to the provider as it came. Its length is read from it, so that a price per "
            "second is held before the call."
        ),
        request=TranscriptionRequest,
        request_example={"model": "simulated", "file": "(the file)"},
        request_types=(_FORM,),
        answer=Transcription,
        answer_example=_TRANSCRIPT,
        answer_texts={_PLAIN: "Hello."},
        chunk=MediaEvent,
        chunk_example={"type": "transcript.text.delta", "delta": "Hello."},
    ),
    Operation(
        name="create_translation",
        method="post",
        path="/audio/translations",
        summary="Write down in English what is said",
        description="As transcriptions, whole only.",
        request=TranslationRequest,
        request_example={"model": "simulated", "file": "(the file)"},
        request_types=(_FORM,),
        answer=Transcription,
        answer_example=_TRANSCRIPT,
        answer_texts={_PLAIN: "Hello."},
    ),
    Operation(
        name="rerank",
        method="post",
        path="/rerank",
        summary="Order documents by a query",
        description=(
            "In the shape of Cohere and Jina: each document's place in the request, and its score. Also at `/v2/rerank`, "
            "where Cohere's clients look for it."
        ),
        request=RerankRequest,
        request_example={"model": "simulated", "query": "toll", "documents": ["A road.", "A toll road."], "top_n": 1},
        answer=Ranking,
        answer_example={"results": [{"index": 1, "relevance_score": 1.0}]},
    ),
)
