"""Claude on Bedrock in Anthropic's own dialect: Messages through InvokeModel, its events inside event-stream frames.

For what Converse has no words for, and so that callers who speak Anthropic's dialect are answered in it as it came: the
option `api: anthropic` of a Bedrock provider.
"""

from base64 import b64decode
from collections.abc import AsyncIterator
from typing import ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.dialects.anthropic_messages import AnthropicVendor
from tollkeeper.gateway.dialects.anthropic_messages.vendor_request import request_of
from tollkeeper.gateway.dialects.bedrock_converse import FrameReader, exception_of

# In the body, where Anthropic has a header ("Anthropic Claude Messages API", Bedrock user guide, 2026-11).
_VERSION: Final = "bedrock-2023-05-31"


class BedrockClaude:
    """The model and whether it streams stand in the address."""

    NAME: ClassVar[str] = AnthropicVendor.NAME

    def __init__(self) -> None:
        self._anthropic = AnthropicVendor()

    def write_call(self, call: Call) -> bytes:
        document = request_of(call)
        for name in ("model", "stream"):
            document.pop(name, None)
        return orjson.dumps({"anthropic_version": _VERSION, **document})

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        return self._anthropic.read_whole(body, call)

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        return self._anthropic.read_stream(_Events(reads), call)


class _Events:
    """Frames in, server-sent events out, one read for one. No generator: the event loop ends those in a task."""

    __slots__ = ("_error", "_frames", "_reads")

    def __init__(self, reads: AsyncIterator[bytes]) -> None:
        self._reads = reads
        self._frames = FrameReader()
        # What came after events that were handed over first.
        self._error: UpstreamError | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            if self._error is not None:
                raise self._error
            data = await self._reads.__anext__()
            events: list[bytes] = []
            try:
                for frame in self._frames.feed(data):
                    if (error := exception_of(frame)) is not None:
                        raise error
                    if frame.headers.get(":event-type") == "chunk":
                        events.append(_event(frame.payload))
            except UpstreamError as error:
                if not events:
                    raise
                self._error = error
            if events:
                return b"".join(events)


def _event(payload: bytes) -> bytes:
    try:
        data = b64decode(orjson.loads(payload)["bytes"], validate=True)
        kind = orjson.loads(data)["type"]
    except (ValueError, KeyError, TypeError):
        raise UpstreamError("The provider sent an event that is none.", code="upstream_garbage") from None
    if not isinstance(kind, str) or b"\n" in data or "\n" in kind:
        raise UpstreamError("The provider sent an event that is none.", code="upstream_garbage")
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
