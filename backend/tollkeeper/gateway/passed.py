"""Answers of a vendor that are passed on as they are: status, chosen headers and bytes, in no dialect."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from tollkeeper.contracts.chat import Batch, Chunk, Reply
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.provider import UpstreamRequest, UpstreamResponse
from tollkeeper.gateway.secrecy import Hiding, echoed_secrets, hide_secrets
from tollkeeper.gateway.stage import Attempt, Exchange

# What holds of the bytes as the vendor sent them.
_OF_BYTES: Final = frozenset({"etag", "content-range", "accept-ranges"})


@dataclass(slots=True)
class Passed(Reply):
    """A reply whose chunks are bytes (`native`). `failure`: what a refusal of the vendor's is called in the ledger."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    failure: UpstreamError | None = None

    async def read(self, most_bytes: int) -> bytes:
        """All of it, and the end of the request behind it. Raises `UpstreamError`."""
        parts = [chunk.native or b"" for chunk in self.primed]
        size = sum(map(len, parts))
        rest, self.rest = self.rest, None
        if rest is None:
            return b"".join(parts)
        try:
            async for batch in rest:
                for chunk in batch:
                    if chunk.error is not None:
                        raise chunk.error
                    parts.append(chunk.native or b"")
                    size += len(parts[-1])
                if size > most_bytes:
                    raise UpstreamError(
                        "The provider's answer is too large to be looked at.", code="upstream_too_large"
                    )
        finally:
            await rest.aclose()  # type: ignore[attr-defined]
        return b"".join(parts)

    def with_content(self, content: bytes) -> "Passed":
        chunk = Chunk({}, native=content, is_final=True)
        headers = {name: value for name, value in self.headers.items() if name not in _OF_BYTES}
        return Passed(is_stream=True, primed=(chunk,), status=self.status, headers=headers, failure=self.failure)


class PassedBody:
    """The body as it arrives, after its first piece, without our own secrets. Closed early, it cancels the vendor's work."""

    def __init__(
        self,
        exchange: Exchange,
        attempt: Attempt,
        request: UpstreamRequest,
        response: UpstreamResponse,
        reads: AsyncIterator[bytes],
        clock: Callable[[], float],
    ) -> None:
        self._exchange = exchange
        self._attempt = attempt
        self._request = request
        self._response: UpstreamResponse | None = response
        self._reads = reads
        self._clock = clock
        self._is_over = False
        self._hiding = Hiding(echoed_secrets(request.config, request.credential, request.signed_headers))

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        if self._is_over:
            raise StopAsyncIteration
        begun = self._clock()
        try:
            piece = await anext(self._reads)
        except StopAsyncIteration:
            self._is_over = True
            return (Chunk({}, native=self._hiding.end(), is_final=True),)
        except UpstreamError as error:
            self._is_over = True
            attempt, request = self._attempt, self._request
            hide_secrets(error, request.config, request.credential, request.signed_headers)
            attempt.error, attempt.ended = error, self._clock()
            return (Chunk({}, native=b"", is_final=True, error=error),)
        finally:
            self._exchange.upstream_seconds += self._clock() - begun
        return (Chunk({}, native=self._hiding.feed(piece)),)

    async def aclose(self) -> None:
        response, self._response = self._response, None
        if response is None:
            return
        if self._is_over and self._attempt.error is None:
            await response.finish()
        else:
            await response.aclose()


class Watch(Protocol):
    """Looks at what is passed on, both ways. Raises `BadRequest` for what may not pass."""

    async def look_at_words(self, words: Iterable[str]) -> None: ...

    async def look_at_bytes(self, body: bytes) -> bytes: ...

    async def look_at_passed(self, passed: Passed) -> Passed: ...


# None: nobody looks.
FindWatch = Callable[[Exchange], Watch | None]
