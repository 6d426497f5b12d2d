"""One request to a vendor under way, from its sending to the end of its answer.

What arrives is noted in the attempt as it arrives, whoever reads on and whether anybody does. A wait that is cancelled,
or lasts longer than its call, loses nothing: `drain` takes it up where it stopped.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Final

from tollkeeper.contracts.chat import Batch, Call, Chunk, Reply, Usage
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import UpstreamError, UpstreamTimeout
from tollkeeper.gateway.assemble import assemble
from tollkeeper.gateway.dialect import VendorDialect
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.bill import close_bill, note_input, note_usage, usage_of
from tollkeeper.gateway.money.cuttable import stops_at_close
from tollkeeper.gateway.money.hold import Hold, Holds
from tollkeeper.gateway.money.plausible import UNREADABLE
from tollkeeper.gateway.money.watch import Watch
from tollkeeper.gateway.provider import (
    Channel,
    Failure,
    FailureClass,
    NotSent,
    Provider,
    UpstreamRequest,
    UpstreamResponse,
)
from tollkeeper.gateway.routing.health import Ticket
from tollkeeper.gateway.secrecy import hide_secrets, read_request_id
from tollkeeper.gateway.stage import Attempt, Exchange

# Chunks without content that are kept back; then the answer begins with them, so that they cannot fill the memory.
_MOST_PRIMED: Final = 1_000
_MOST_PRIMED_BYTES: Final = 262_144


class Flight:
    """The rest of a streamed reply as well: a failure in it is its last chunk, closing it early cancels the vendor."""

    __slots__ = (
        "_batches",
        "_call",
        "_channel",
        "_clock",
        "_dialect",
        "_exchange",
        "_goes_on",
        "_is_kept",
        "_is_told",
        "_metrics",
        "_response",
        "_ticket",
        "_watch",
        "attempt",
        "first_token_deadline",
        "is_over",
        "provider",
        "request",
    )

    def __init__(
        self,
        exchange: Exchange,
        attempt: Attempt,
        call: Call,
        provider: Provider,
        channel: Channel,
        dialect: VendorDialect,
        request: UpstreamRequest,
        clock: Clock,
        metrics: Metrics,
        ticket: Ticket,
    ) -> None:
        """`call` as the vendor got it: one that the caller wants whole may be a stream there."""
        self._exchange = exchange
        self.attempt = attempt
        self._call = call
        self.provider = provider
        self._channel = channel
        self._dialect = dialect
        self.request = request
        self._clock = clock.monotonic
        self._metrics = metrics
        # Until its end is told.
        self._ticket: Ticket | None = ticket
        self._response: UpstreamResponse | None = None
        self._batches: AsyncIterator[Batch] | None = None
        self._watch: Watch | None = None
        # The reader has the last chunk.
        self._is_told = False
        self._is_kept = False
        # What the caller gets is an error, because its time is over; the vendor's answer still comes.
        self._goes_on = False
        # The vendor has sent its last chunk.
        self.is_over = False
        # Until when a stream must have brought content; None: no sooner than its end.
        self.first_token_deadline: float | None = None

    async def send(self) -> UpstreamResponse:
        begun = self._clock()
        request, deadline = self.request, self.request.deadline
        if self.first_token_deadline is not None:
            request.deadline = self.first_token_deadline
        try:
            response = self._response = await self._channel.send(request)
        except NotSent:
            self.attempt.may_cost = False
            raise
        except UpstreamTimeout as error:
            raise self._late(error) from None
        except asyncio.CancelledError:
            if self.request.is_unsent:
                self.attempt.may_cost = False
            raise
        finally:
            request.deadline = deadline
            self._exchange.upstream_seconds += self._clock() - begun
        self.attempt.upstream_request_id = read_request_id(response.headers, self.request.credential)
        return response

    async def refusal(self) -> bytes:
        """The body of an answer that is none: the vendor takes nothing for it."""
        assert self._response is not None
        body = await self._response.read()
        self.attempt.may_cost = False
        await self.close()
        return body

    async def whole(self) -> Chunk:
        begun = self._clock()
        self._bound()
        try:
            chunk = await self._whole()
        finally:
            self._exchange.upstream_seconds += self._clock() - begun
        self.attempt.first_token = self._clock()
        await self.aclose()
        return chunk

    async def assembled(self, hold: Hold, holds: Holds) -> Chunk:
        """The whole answer out of a stream that is watched."""
        self._open(hold, holds)
        self._bound()
        chunks: list[Chunk] = []
        while not self._is_told:
            batch = await self._next()
            if self.attempt.first_token is None:
                self.attempt.first_token = self._clock()
            chunks += batch
        await self.aclose()
        return assemble(chunks, self._call)

    async def stream(self, hold: Hold | None, holds: Holds | None) -> Reply:
        """Read until there is content: so far a failure can still become a status, or another target's answer."""
        self._exchange.on_accepted()
        self._open(hold, holds)
        primed: list[Chunk] = []
        try:
            while True:
                batch = await self._next()
                primed += batch
                if any(chunk.is_content or chunk.is_final for chunk in batch):
                    break
                response = self._response
                if len(primed) > _MOST_PRIMED or (response is not None and response.received > _MOST_PRIMED_BYTES):
                    break
        except StopAsyncIteration:
            raise UpstreamError("The provider's answer is empty.", code="upstream_cut") from None
        except UpstreamTimeout as error:
            raise self._late(error) from None
        self._begun()
        self._bound()
        return Reply(is_stream=True, primed=primed, rest=self)

    def _begun(self) -> None:
        """There is content: the caller sees something from here on."""
        attempt = self.attempt
        now = attempt.first_token = self._exchange.first_token = self._clock()
        if self._ticket is not None:
            self._ticket.speaks(now, now - attempt.started)

    def _bound(self) -> None:
        """The bounds of an answer that has begun; those of the wait for it are over."""
        least = self._least_bytes()
        if (least or self.first_token_deadline is not None) and self._response is not None:
            self.first_token_deadline = None
            self._response.bound(self.request.deadline, least)

    def _least_bytes(self) -> int:
        policy = self._exchange.route.policy
        return 0 if policy is None else policy.deadlines.least_bytes_per_second

    def _late(self, error: UpstreamTimeout) -> UpstreamTimeout:
        """The deadline that was passed was not the call's."""
        if self.first_token_deadline is None or self._clock() < self.first_token_deadline:
            return error
        return UpstreamTimeout("The provider brought nothing of its answer in time.")

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        if self._is_told:
            raise StopAsyncIteration
        try:
            return await self._next()
        except UpstreamError as error:
            self._is_told = True
            attempt = self.attempt
            request = self.request
            hide_secrets(error, request.config, request.credential, request.signed_headers)
            self.outlives(error)
            attempt.error, attempt.ended = error, self._clock()
            kind = FailureClass.TIMEOUT if isinstance(error, UpstreamTimeout) else FailureClass.SERVER
            self._metrics.upstream_error(attempt.intent.provider, kind)
            self.failed(Failure(kind, error, error.retry_after_seconds))
            return (Chunk(data={}, is_hidden=True, is_final=True, error=error),)

    async def aclose(self) -> None:
        """At its end the connection is kept; anywhere before, it is closed at once, which cancels the vendor's work."""
        self.left()
        if not self._is_kept:
            await self.close()

    # How it ended, for whoever let it through: the first of these counts.

    def failed(self, failure: Failure) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            now = self._clock()
            if failure.kind is FailureClass.TIMEOUT and now >= self._exchange.patience:
                # One caller's haste keeps nobody else away.
                ticket.left(now)
            else:
                ticket.failed(now, failure)
            self._metrics.attempt(self.attempt.intent.provider, failure.kind)

    def left(self) -> None:
        """Nobody waits for it any more, which says nothing about the vendor."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.left(self._clock())
            self._metrics.attempt(self.attempt.intent.provider, "left")

    def _answered(self) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is None:
            return
        attempt, now, usage = self.attempt, self._clock(), self.attempt.usage
        read = None
        if usage is not None and (total := usage.prompt_tokens):
            read = usage.cache_read / total
        ticket.answered(now, (attempt.first_token or now) - attempt.started, read)
        self._metrics.attempt(attempt.intent.provider, "answered")

    # What is left when nobody waits

    def is_still_billed(self) -> bool:
        attempt, request = self.attempt, self.request
        if self.is_over or not attempt.may_cost or (attempt.error is not None and not self._goes_on):
            return False
        if self._response is None and request.pending is None:
            return False
        return not stops_at_close(self.provider, request.config, self._call.operation, attempt.intent.upstream_model)

    def outlives(self, error: UpstreamError) -> bool:
        """Whether what ended is the time of the call, not the answer: what is billed all the same is left to `meter`."""
        is_late = isinstance(error, UpstreamTimeout) and self._clock() >= self._exchange.deadline
        self._goes_on = is_late and self.is_still_billed()
        return self._goes_on

    def keep(self) -> None:
        self._is_kept = True
        self.left()

    async def drain(self) -> None:
        # The call's time is not the answer's: `Drains` bounds that.
        try:
            if self._response is None:
                pending, self.request.pending = self.request.pending, None
                assert pending is not None
                self._response = await pending.resume(math.inf)
            self._response.bound(math.inf, self._least_bytes())
            if not 200 <= self._response.status < 300:
                self.attempt.may_cost = False
            elif self.request.is_stream:
                if self._batches is None:
                    self._batches = self._dialect.read_stream(self._response.reads(), self._call)
                while not self.is_over:
                    await self._read()
            else:
                await self._whole()
        except StopAsyncIteration:
            pass
        finally:
            await self.close()

    # Reading

    async def _whole(self) -> Chunk:
        assert self._response is not None
        chunk = self._dialect.read_whole(await self._response.read(), self._call)
        self._note((chunk,))
        return chunk

    def _open(self, hold: Hold | None, holds: Holds | None) -> None:
        assert self._response is not None
        self._batches = self._dialect.read_stream(self._response.reads(), self._call)
        if hold is not None and holds is not None:
            model = self.attempt.intent.upstream_model
            self._watch = Watch(self._read, self._cut, hold, holds, self._call, model, self._clock)

    async def _next(self) -> Batch:
        begun = self._clock()
        try:
            batch = await (self._read() if self._watch is None else anext(self._watch))
        finally:
            self._exchange.upstream_seconds += self._clock() - begun
        if batch and batch[-1].is_final:
            self._is_told = True
        return batch

    async def _read(self) -> Batch:
        assert self._batches is not None
        batch = await anext(self._batches)
        self._note(batch)
        return batch

    def _note(self, batch: Batch) -> None:
        attempt = self.attempt
        for chunk in batch:
            attempt.text_length += chunk.text_length
            if chunk.amounts is not None:
                attempt.amounts = chunk.amounts
            if chunk.usage is not None:
                note_usage(self._exchange, attempt, chunk)
            elif chunk.input_usage is not None:
                note_input(self._exchange, attempt, chunk.input_usage)
        if batch and batch[-1].is_final:
            self.is_over = True
            if attempt.usage is None and attempt.doubt is None and batch[-1].data.get("usage"):
                attempt.doubt = UNREADABLE
            close_bill(self._exchange, attempt)
            self._answered()

    async def _cut(self) -> Usage:
        """Stop the vendor: what was put aside is used up. What was used, as far as we saw it."""
        response, self._response = self._response, None
        assert response is not None
        await response.aclose()
        self.is_over = True
        close_bill(self._exchange, self.attempt)
        self._answered()
        self._metrics.answer_cut(self.attempt.intent.provider)
        return usage_of(self.attempt)

    async def close(self) -> None:
        """As `aclose`, whoever waits; how it ended is told by whoever knows."""
        # It knows this flight as well: a circle that would keep the call's body.
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.aclose()
        response, self._response = self._response, None
        if response is not None:
            if self.is_over and (self.attempt.error is None or self._goes_on):
                await response.finish()
            else:
                await response.aclose()
        elif self.request.pending is not None:
            self.request.pending.abort()
            self.request.pending = None
