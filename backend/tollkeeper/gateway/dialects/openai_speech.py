"""OpenAI's `audio/speech`: a text in, sound out as the vendor makes it, or as events that carry it in base64.

The sound is relayed as it comes and never looked into; nothing of it is kept. It has no words for an error, so one that
comes after its beginning cuts the connection.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Final

from tollkeeper.contracts.chat import Amounts, Batch, Call, Chunk, Operation
from tollkeeper.core.errors import BadRequest, TollkeeperError, UpstreamError
from tollkeeper.core.strict_json import DEFAULT_DEPTH, read_object
from tollkeeper.gateway.dialect import Writer
from tollkeeper.gateway.openai_documents import read_document, read_text
from tollkeeper.gateway.openai_edge import OpenAIEdge
from tollkeeper.gateway.openai_events import TypedEventWriter, read_typed_events
from tollkeeper.gateway.openai_fields import missing, read_common, write_call, wrong_type
from tollkeeper.gateway.openai_usage import read_responses_usage

# By `response_format`; what a vendor has beside these is bytes.
CONTENT_TYPES: Final[Mapping[str, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_MOST_ERROR_BYTES: Final = 65_536
_EVENT_WRITER: Final = TypedEventWriter()


class OpenAISpeech(OpenAIEdge):
    NAME: ClassVar[str] = "openai_speech"

    def __init__(self, max_json_depth: int = DEFAULT_DEPTH) -> None:
        self._max_json_depth = max_json_depth

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        call = read_common(read_object(body, self._max_json_depth), Operation.SPEECH)
        data = call.body
        text = read_text(data, "input", is_required=True)
        if data.get("voice") is None:
            raise missing("voice")
        if not isinstance(data["voice"], str | dict):
            raise wrong_type("voice", "a string or an object", data["voice"])
        for name in ("response_format", "instructions", "stream_format"):
            read_text(data, name)
        speed = data.get("speed")
        if speed is not None and (isinstance(speed, bool) or not isinstance(speed, int | float)):
            raise wrong_type("speed", "a decimal", speed)
        if data.get("stream_format") not in (None, "audio", "sse"):
            raise BadRequest(
                "Invalid value for 'stream_format': expected 'audio' or 'sse'.",
                param="stream_format",
                code="invalid_value",
            )
        # Always read as it comes: in one piece or in many is the same to the caller.
        call.is_stream = True
        call.raw = body
        call.asked = Amounts(characters=len(text or ""))
        return call

    def write_call(self, call: Call) -> bytes:
        return write_call(call)

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        if not body:
            raise UpstreamError("The provider's answer is empty.", code="upstream_cut")
        return Chunk({}, is_content=True, is_final=True, native=body, amounts=call.asked, content_type=_type_of(call))

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        if not _is_events(call):
            return _Sound(reads, call)

        def as_event(body: bytes) -> list[Chunk]:
            raise_no_sound(body)
            raise UpstreamError("The provider's answer is no speech.", code="upstream_garbage")

        return read_typed_events(reads, lambda data, raw: _event(data, raw, call), as_event)

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:  # noqa: ARG002 - the interface
        return chunk.native or b""

    def writer(self, call: Call) -> Writer:
        return _EVENT_WRITER if _is_events(call) else SoundWriter(_type_of(call))


class SoundWriter(Writer):
    """Bytes as they come."""

    keep_alive = b""

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type

    def batch(self, batch: Batch) -> bytes:
        return b"".join([chunk.native for chunk in batch if chunk.native])

    def end(self, comment: str | None) -> bytes:  # noqa: ARG002 - no place for one
        return b""

    def error(self, error: TollkeeperError, request_id: str) -> bytes | None:  # noqa: ARG002 - no words for it
        return None


class _Sound:
    """One batch per read, then the end. No generator, as in `openai_stream`."""

    __slots__ = ("_call", "_has_begun", "_is_over", "_reads")

    def __init__(self, reads: AsyncIterator[bytes], call: Call) -> None:
        self._reads = reads
        self._call = call
        self._has_begun = False
        self._is_over = False

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        if self._is_over:
            raise StopAsyncIteration
        try:
            data = await self._next()
        except StopAsyncIteration:
            if not self._has_begun:
                raise UpstreamError("The provider's answer is empty.", code="upstream_cut") from None
            self._is_over = True
            return [Chunk({}, is_hidden=True, is_final=True, amounts=self._call.asked)]
        if not self._has_begun:
            await self._check(data)
            self._has_begun = True
        return [Chunk({}, is_content=True, native=data)]

    async def _next(self) -> bytes:
        while not (data := await self._reads.__anext__()):
            pass
        return data

    async def _check(self, first: bytes) -> None:
        """No container of sound begins with a brace or an angle bracket; samples without one may begin with anything."""
        if first[:1] not in {b"{", b"<"} or self._call.body.get("response_format") == "pcm":
            return
        parts, size = [first], len(first)
        async for data in self._reads:
            parts.append(data)
            size += len(data)
            if size > _MOST_ERROR_BYTES:
                break
        raise_no_sound(b"".join(parts))
        raise UpstreamError("The provider's answer is no speech.", code="upstream_garbage")


def raise_no_sound(body: bytes) -> None:
    """The error that a vendor put in the place of sound, if it is one."""
    read_document(body)


def _event(data: dict[str, Any], raw: bytes | None, call: Call) -> tuple[Chunk, bool]:
    if data.get("type") != "speech.audio.done":
        return Chunk(data, raw, is_content=True), False
    usage = read_responses_usage(data.get("usage"))
    return Chunk(data, raw, is_content=True, usage=usage, amounts=call.asked), True


def _is_events(call: Call) -> bool:
    return call.body.get("stream_format") == "sse"


def _type_of(call: Call) -> str:
    return CONTENT_TYPES.get(call.body.get("response_format") or "mp3", "application/octet-stream")
