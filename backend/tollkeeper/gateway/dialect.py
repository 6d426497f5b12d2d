"""What a dialect is: functions between a wire format and the canonical `Call` and `Chunk`, used at both ends.

A caller's end is a `CallerDialect`, a vendor's end a `VendorDialect`; most dialects are both. What one end needs and the
other does not stays out of the other's way: a vendor may be reached in a dialect nobody calls us in, and the reverse.
"""

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar, Protocol

from tollkeeper.contracts.chat import Batch, Call, Chunk
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.gateway import sse


class Writer(Protocol):
    """Writes one stream to a caller; it may remember what it has written. Those that name it as their base write events."""

    content_type: str = "text/event-stream; charset=utf-8"
    # Written while a vendor is silent for long; empty where the form has no place for it.
    keep_alive: bytes = sse.comment("keep-alive")

    def batch(self, batch: Batch) -> bytes:
        """The bytes of one write: the visible events of a batch, framed; empty when it has none."""
        ...

    def end(self, comment: str | None) -> bytes:
        """What closes a good stream (`data: [DONE]`), preceded by an optional comment."""
        ...

    def error(self, error: TollkeeperError, request_id: str) -> bytes | None:
        """The dialect's own error event, for a stream that broke after its first content, and what must follow it.

        None where the form has no words for one (sound): then the connection is cut, so that nobody takes it for whole.
        """
        ...


class CallerDialect(Protocol):
    NAME: ClassVar[str]

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:
        """Bytes of a caller → `Call`. Raises `BadRequest` with `param` and a code for everything that is not one.

        `path` as it was asked for, percent-encoding undone: some dialects name the model there.
        """
        ...

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:
        """The JSON document for the caller."""
        ...

    def writer(self, call: Call) -> Writer:
        """For one stream."""
        ...

    def write_error(self, error: TollkeeperError, request_id: str) -> bytes:
        """The body of an error answer."""
        ...

    def status(self, error: TollkeeperError) -> int:
        """The HTTP status of an error answer; `error.status` but where the dialect has a number of its own."""
        ...

    def headers(self, request_id: str, shown: Mapping[str, str]) -> Mapping[str, str]:
        """Headers that this dialect's clients look for beside those of every answer; `shown` are the call's own so far."""
        ...


class VendorDialect(Protocol):
    NAME: ClassVar[str]

    def write_call(self, call: Call) -> bytes:
        """`Call` → bytes for a vendor; what the caller sent as it came when nothing was changed."""
        ...

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        """A vendor's whole answer. Raises `UpstreamError` for what is no answer of this dialect."""
        ...

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        """A vendor's byte stream, split anywhere → batches of chunks, one per read that completes an event.

        A stream that ends without its proper end, or carries an error event, yields or raises `UpstreamError`.
        """
        ...


class Dialect(CallerDialect, VendorDialect, Protocol):
    """Both ends."""
