"""What a dialect is: four functions between a wire format and the canonical `Call` and `Chunk`, used at both ends.

A caller's end uses `read_call` and `write_chunks`/`write_whole`, a vendor's end `write_call` and `read_whole`/`read_events`.
"""

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar, Protocol

from tollkeeper.contracts.chat import Batch, Call, Chunk
from tollkeeper.core.errors import TollkeeperError


class Dialect(Protocol):
    NAME: ClassVar[str]

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes]) -> Call:
        """Bytes of a caller → `Call`. Raises `BadRequest` with `param` and a code for everything that is not one."""
        ...

    def write_call(self, call: Call) -> bytes:
        """`Call` → bytes for a vendor; `call.raw` as it came when nothing was changed."""
        ...

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        """A vendor's whole answer. Raises `UpstreamError` for what is no answer of this dialect."""
        ...

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        """A vendor's byte stream, split anywhere → batches of chunks, one per read that completes an event.

        A stream that ends without its proper end, or carries an error event, yields or raises `UpstreamError`.
        """
        ...

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:
        """The JSON document for the caller."""
        ...

    def write_batch(self, batch: Batch, call: Call) -> bytes:
        """The bytes of one write to the caller: the visible events of a batch, framed."""
        ...

    def write_end(self, call: Call, comment: str | None) -> bytes:
        """What closes a good stream (`data: [DONE]`), preceded by an optional comment."""
        ...

    def write_error_event(self, error: TollkeeperError, request_id: str) -> bytes:
        """The dialect's own error event, for a stream that broke after its first content."""
        ...

    def write_error(self, error: TollkeeperError, request_id: str) -> bytes:
        """The body of an error answer."""
        ...
