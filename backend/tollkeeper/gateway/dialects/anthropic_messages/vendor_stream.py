"""A byte stream of Anthropic's as batches of chunks, and what counts as its end: `message_stop`, or that it said why it
stopped. Anything else is an answer that was cut off.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Chunk
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway import sse
from tollkeeper.gateway.batches import Batches
from tollkeeper.gateway.dialects.anthropic_messages.vendor_answer import read_message
from tollkeeper.gateway.dialects.anthropic_messages.vendor_events import MessageEvents

_STOP: Final = b'{"type":"message_stop"}'


class MessageStream(Batches):
    __slots__ = ("_events", "_messages")

    def __init__(self, reads: AsyncIterator[bytes], call: Call) -> None:
        super().__init__(reads)
        self._messages = MessageEvents(call)
        self._events = sse.EventReader()

    def _feed(self, data: bytes, batch: list[Chunk]) -> None:
        self._read(self._events.feed(data), batch)

    def _read(self, events: list[bytes], batch: list[Chunk]) -> None:
        messages = self._messages
        at, end = 0, len(events)
        while at < end:
            run = messages.read_run(events, at)
            if run is not None:
                batch.append(run[0])
                at += run[1]
                continue
            event = events[at]
            at += 1
            if event == sse.DONE:
                continue
            chunks = messages.read(event)
            if messages.is_over:
                ending = messages.end()
                if chunks:
                    # To a caller of the same dialect the vendor's own last event.
                    ending[-1].native = chunks[0].native
                batch += ending
                self._is_over = True
                return
            batch += chunks

    def _close(self, batch: list[Chunk]) -> None:
        """The body ended without saying so."""
        rest = self._events.close()
        messages = self._messages
        if not messages.has_begun and rest.lstrip().startswith(b"{"):
            # A server that ignores `stream`, or refuses under status 200.
            self._read(list(_events_of(read_message(rest))), batch)
            return
        event = sse.last_event(rest)
        if event is not None:
            self._read_unclosed(event, batch)
        if not messages.is_over:
            # Refused unless it has said why it stopped.
            self._read([_STOP], batch)

    def _read_unclosed(self, event: bytes, batch: list[Chunk]) -> None:
        """The last event without the blank line after it: whole, or its beginning."""
        try:
            self._read([event], batch)
        except UpstreamError as error:
            raise (_cut() if error.code == "upstream_garbage" else error) from error


def _cut() -> UpstreamError:
    return UpstreamError("The provider cut its answer off.", code="upstream_cut")


def _events_of(message: Mapping[str, Any]) -> Iterator[bytes]:
    """A whole answer as the events of a stream, each block at once."""
    head = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    yield orjson.dumps({"type": "message_start", "message": head})
    for index, block in enumerate(message["content"]):
        yield orjson.dumps({"type": "content_block_start", "index": index, "content_block": block})
        yield orjson.dumps({"type": "content_block_stop", "index": index})
    ending = {name: message.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
    if ending["stop_reason"] is None:
        ending["stop_reason"] = "end_turn"
    yield orjson.dumps({"type": "message_delta", "delta": ending, "usage": message.get("usage")})
    yield _STOP
