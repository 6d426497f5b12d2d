"""OpenAI's `audio/transcriptions` and `audio/translations`: a file in a form, its words out, as JSON, text, subtitles or
events. How long the file lasts is read from the file, so that a price per second has an end before it is asked for.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Amounts, Batch, Call, Chunk, Operation, Usage
from tollkeeper.core.errors import PayloadTooLarge, UpstreamError
from tollkeeper.gateway.dialect import Writer
from tollkeeper.gateway.multipart import write_form
from tollkeeper.gateway.openai_documents import files_of, read_document, read_form_call, read_text, refuse_stream
from tollkeeper.gateway.openai_edge import OpenAIEdge
from tollkeeper.gateway.openai_events import TypedEventWriter, read_typed_events
from tollkeeper.gateway.openai_usage import read_responses_usage
from tollkeeper.gateway.sounds import sound_length
from tollkeeper.gateway.usage_counts import mapping

# "Speech to text", OpenAI's guide, 2026-10.
MOST_FILE_BYTES: Final = 25 * 1024 * 1024
_TEXT_FORMATS: Final = frozenset({"text", "srt", "vtt"})
_TEXT: Final = "text/plain; charset=utf-8"
# A vendor rounds up to its own unit, a minute at the most.
_ROUNDING_MS: Final = 60_000
_WRITER: Final = TypedEventWriter()


class OpenAITranscriptions(OpenAIEdge):
    """Of one of the two operations."""

    NAME: ClassVar[str] = "openai_transcriptions"

    def __init__(self, operation: Operation = Operation.TRANSCRIPTIONS) -> None:
        self._operation = operation

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        call, form = read_form_call(body, headers, self._operation)
        (part,) = files_of(form, "file")
        if part.end - part.start > MOST_FILE_BYTES:
            raise PayloadTooLarge(f"The file is larger than {MOST_FILE_BYTES} bytes.", param="file")
        for name in ("response_format", "language", "prompt"):
            read_text(call.body, name)
        if self._operation is Operation.TRANSLATIONS:
            refuse_stream(call, "Translations")
        usual, most, is_told = sound_length(form.content, part.start, part.end)
        call.asked = Amounts(audio_ms=usual, is_estimated=not is_told)
        call.at_most = Amounts(audio_ms=most)
        return call

    def write_call(self, call: Call) -> bytes:
        return write_form(call)

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        if call.body.get("response_format") in _TEXT_FORMATS:
            return _read_text(body, call)
        data = read_document(body)
        if not isinstance(data.get("text"), str):
            raise UpstreamError("The provider's answer holds no transcript.", code="upstream_garbage")
        usage, amounts = _read_usage(data, call)
        length = len(data["text"])
        return Chunk(data, body, is_content=True, is_final=True, usage=usage, text_length=length, amounts=amounts)

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        return read_typed_events(
            reads, lambda data, raw: _event(data, raw, call), lambda body: self._as_events(body, call)
        )

    def _as_events(self, body: bytes, call: Call) -> Sequence[Chunk]:
        """Of a model that cannot stream, as OpenAI's own `whisper-1`."""
        whole = self.read_whole(body, call)
        data = {"type": "transcript.text.done", **whole.data}
        return [Chunk(data, is_content=True, usage=whole.usage, text_length=whole.text_length, amounts=whole.amounts)]

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:  # noqa: ARG002 - the interface
        if chunk.native is not None:
            return chunk.native
        return chunk.raw if chunk.raw is not None else orjson.dumps(chunk.data)

    def writer(self, call: Call) -> Writer:  # noqa: ARG002 - the interface
        return _WRITER


def _read_text(body: bytes, call: Call) -> Chunk:
    if body.lstrip()[:1] == b"{":
        # A vendor that knows JSON alone, or refuses under status 200.
        data = read_document(body)
        text = data.get("text")
        if not isinstance(text, str):
            raise UpstreamError("The provider's answer holds no transcript.", code="upstream_garbage")
        body = text.encode()
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise UpstreamError("The provider's answer is no text.", code="upstream_garbage") from error
    if body.lstrip()[:1] == b"<":
        raise UpstreamError("The provider's answer is no transcript.", code="upstream_garbage")
    return Chunk(
        {"text": text},
        is_content=True,
        is_final=True,
        text_length=len(text),
        native=body,
        amounts=call.asked,
        content_type=_TEXT,
    )


def _event(data: dict[str, Any], raw: bytes | None, call: Call) -> tuple[Chunk, bool]:
    if data.get("type") != "transcript.text.done":
        delta = data.get("delta")
        length = len(delta) if isinstance(delta, str) else 0
        return Chunk(data, raw, is_content=True, text_length=length), False
    usage, amounts = _read_usage(data, call)
    return Chunk(data, raw, is_content=True, usage=usage, amounts=amounts), True


def _read_usage(data: Mapping[str, Any], call: Call) -> tuple[Usage | None, Amounts | None]:
    """By tokens or by seconds, as the model is charged; what nobody tells is the file's own length."""
    told = mapping(data.get("usage"))
    usage = read_responses_usage(told)
    seconds = told.get("seconds", data.get("duration"))
    asked, at_most = call.asked, call.at_most
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or asked is None or at_most is None:
        return usage, asked
    # The comparison refuses what is no number as well.
    if not 0 <= seconds * 1000 <= at_most.audio_ms + _ROUNDING_MS:
        return usage, Amounts(audio_ms=asked.audio_ms, is_estimated=True)
    return usage, Amounts(audio_ms=round(seconds * 1000))
