"""Streams of OpenAI's typed events: pictures, transcripts and speech in pieces, each `data` a document with a `type`.

They have no choices and most have no `[DONE]`: what ends them is an event of a certain type, and the end of the body.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar

import orjson

from tollkeeper.contracts.chat import Batch, Chunk
from tollkeeper.core.errors import TollkeeperError, UpstreamError
from tollkeeper.gateway import openai_errors, sse
from tollkeeper.gateway.dialect import Writer
from tollkeeper.gateway.openai_repair import raise_error
from tollkeeper.gateway.openai_stream import read_events

# What an event means: its chunk, and whether it is one that a stream may end after.
Meaning = Callable[[dict[str, Any], bytes | None], tuple[Chunk, bool]]


def read_typed_events(
    reads: AsyncIterator[bytes], meaning: Meaning, from_whole: Callable[[bytes], Sequence[Chunk]]
) -> AsyncIterator[Batch]:
    """`from_whole` makes events of the document of a vendor that did not stream."""
    events = _Events(meaning, from_whole)
    return read_events(reads, events, events.take_whole)


class _Events:
    __slots__ = ("_from_whole", "_is_finished", "_meaning", "_more", "has_begun")

    def __init__(self, meaning: Meaning, from_whole: Callable[[bytes], Sequence[Chunk]]) -> None:
        self._meaning = meaning
        self._from_whole = from_whole
        self._more: Sequence[Chunk] = ()
        self._is_finished = False
        self.has_begun = False

    @property
    def is_finished(self) -> bool:
        return self._is_finished

    def read_run(self, events: Sequence[bytes]) -> tuple[Chunk, int] | None:  # noqa: ARG002 - one by one here
        return None

    def read(self, raw: bytes) -> Chunk | None:
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise UpstreamError("The provider sent an event that is not JSON.", code="upstream_garbage") from error
        if not isinstance(data, dict):
            raise UpstreamError("The provider sent an event that is no object.", code="upstream_garbage")
        raise_error(data)
        self.has_begun = True
        chunk, ends = self._meaning(data, None if b"\n" in raw else raw)
        self._is_finished = self._is_finished or ends
        return chunk

    def take_whole(self, body: bytes) -> Chunk:
        chunks = self._from_whole(body)
        self._is_finished, self._more = True, chunks[1:]
        return chunks[0]

    def end(self) -> list[Chunk]:
        if not self._is_finished:
            raise UpstreamError("The provider cut its answer off.", code="upstream_cut")
        return [*self._more, Chunk(data={}, is_hidden=True, is_final=True)]


class TypedEventWriter(Writer):
    """`is_named`: with an `event:` line, as OpenAI has them for pictures and not for sound."""

    is_named: ClassVar[bool] = False

    def batch(self, batch: Batch) -> bytes:
        return b"".join([self._event(chunk) for chunk in batch if not chunk.is_hidden])

    def _event(self, chunk: Chunk) -> bytes:
        raw = chunk.raw if chunk.raw is not None else orjson.dumps(chunk.data)
        kind = chunk.data.get("type")
        if not self.is_named or not isinstance(kind, str) or not (kind.isascii() and kind.isprintable()):
            return b"data: %b\n\n" % raw
        return b"event: %b\ndata: %b\n\n" % (kind.encode("ascii"), raw)

    def end(self, comment: str | None) -> bytes:
        return b"" if comment is None else sse.comment(comment)

    def error(self, error: TollkeeperError, request_id: str) -> bytes | None:
        body = openai_errors.write_error_body(error, request_id)
        return b"event: error\ndata: %b\n\n" % body if self.is_named else b"data: %b\n\n" % body


class NamedEventWriter(TypedEventWriter):
    is_named: ClassVar[bool] = True
