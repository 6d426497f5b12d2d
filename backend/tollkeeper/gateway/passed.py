"""Answers of a vendor that are passed on as they are: status, chosen headers and bytes, in no dialect."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from tollkeeper.contracts.chat import Batch, Chunk, Reply
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.provider import UpstreamRequest, UpstreamResponse
from tollkeeper.gateway.secrecy import Hiding, echoed_secrets, hide_secrets
from tollkeeper.gateway.stage import Attempt, Exchange


@dataclass(slots=True)
class Passed(Reply):
    """A reply whose chunks are bytes (`native`). `failure`: what a refusal of the vendor's is called in the ledger."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    failure: UpstreamError | None = None


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
