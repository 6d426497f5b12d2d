"""What OpenAI's dialects have in common at the caller's end: frames, errors, the mark of the end."""

from collections.abc import Mapping
from typing import Final

import orjson

from tollkeeper.contracts.chat import Batch, Call
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.gateway import openai_errors, sse
from tollkeeper.gateway.dialect import Writer

_NOTHING: Final[Mapping[str, str]] = {}


class EventWriter(Writer):
    """Chunks as they are, one event each; remembers nothing, so one serves all streams."""

    def batch(self, batch: Batch) -> bytes:
        # A list, because join makes one of anything else.
        return b"".join(
            [
                b"data: %b\n\n" % (chunk.raw if chunk.raw is not None else orjson.dumps(chunk.data))
                for chunk in batch
                if not chunk.is_hidden
            ]
        )

    def end(self, comment: str | None) -> bytes:
        return sse.DONE_FRAME if comment is None else sse.comment(comment) + sse.DONE_FRAME

    def error(self, error: TollkeeperError, request_id: str) -> bytes:
        return b"data: %b\n\n" % openai_errors.write_error_body(error, request_id)


EVENT_WRITER: Final = EventWriter()


class OpenAIEdge:
    """The half of a `CallerDialect` that does not depend on the operation."""

    def writer(self, call: Call) -> Writer:  # noqa: ARG002 - the interface
        return EVENT_WRITER

    def write_error(self, error: TollkeeperError, request_id: str) -> bytes:
        return openai_errors.write_error_body(error, request_id)

    def status(self, error: TollkeeperError) -> int:
        return error.status

    def headers(self, request_id: str, shown: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002 - the interface
        return _NOTHING
