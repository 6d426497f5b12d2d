"""Writes one answer: whole, streamed, or an error, with the headers every answer has.

A stream's 200 leaves with its first content, or when a provider that has accepted it stays silent for long (RULING 18);
from then on a comment now and then keeps the line open, and failures are error events.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from tollkeeper.contracts.chat import Batch, Chunk, Reply
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.core.flags import PROVIDER_HEADERS
from tollkeeper.core.money import format_usd
from tollkeeper.gateway import sse
from tollkeeper.gateway.dialect import Dialect
from tollkeeper.gateway.edge.errors import Header, error_body, error_headers
from tollkeeper.gateway.edge.limits import Body, Send
from tollkeeper.gateway.stage import Ending, Exchange, Outcome

_JSON: Final[Header] = (b"content-type", b"application/json")
_STREAM: Final[tuple[Header, ...]] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
_KEEP_ALIVE: Final = sse.comment("keep-alive")


class Answer:
    def __init__(
        self,
        send: Send,
        exchange: Exchange,
        dialect: Dialect,
        clock: Clock,
        commit_after_seconds: float,
        comment_seconds: float,
    ) -> None:
        self._send = send
        self._exchange = exchange
        self._dialect = dialect
        self._clock = clock
        self._commit_after_seconds = commit_after_seconds
        self._comment_seconds = comment_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None
        self._is_writing = False
        self._written_at = 0.0
        self.is_begun = False
        self.is_over = False

    def accepted(self) -> None:
        """A provider has begun to answer a stream: its silence has a limit from here."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._commit_after_seconds, self._tick)

    async def write(self, reply: Reply) -> Outcome:
        if reply.is_stream:
            return await self._stream(reply)
        chunk = reply.primed[0]
        for tap in reply.taps:
            tap(chunk)
        body = self._dialect.write_whole(chunk, self._exchange.call)
        await self._whole(200, body, [])
        return Outcome(Ending.DONE, 200)

    async def refuse(self, error: TollkeeperError, body: Body | None = None) -> Outcome:
        """The error as a status, or as an event when the stream has begun."""
        request_id = self._exchange.shown_id
        if self.is_over:
            return Outcome(Ending.FAILED, 200, error)
        if self.is_begun:
            await self._put(self._dialect.write_error_event(error, request_id), is_last=True)
            return Outcome(Ending.FAILED, 200, error)
        headers = error_headers(error)
        content = error_body(error, request_id, self._dialect)
        if body is None or body.is_complete:
            await self._whole(error.status, content, headers)
        else:
            await self._early(error.status, content, headers, body)
        return Outcome(Ending.FAILED, error.status, error)

    async def write_document(self, content: bytes) -> None:
        await self._whole(200, content, [])

    async def write_empty(self, allow: str) -> None:
        """The answer to OPTIONS. No CORS: keys do not belong in browsers."""
        self.is_begun = self.is_over = True
        headers = [(b"allow", allow.encode("ascii")), *self._common_headers()]
        await self._send({"type": "http.response.start", "status": 204, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})

    def close(self) -> None:
        """After the end: no timer, no comment."""
        self.is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._comment is not None:
            self._comment.cancel()

    async def _whole(self, status: int, content: bytes, headers: Sequence[Header]) -> None:
        self.is_begun = self.is_over = True
        await self._send({"type": "http.response.start", "status": status, "headers": self._headers(content, headers)})
        await self._send({"type": "http.response.body", "body": content})

    async def _early(self, status: int, content: bytes, headers: list[Header], body: Body) -> None:
        """A refusal before the body was read: answer, throw away a bounded rest, close (RULING 17)."""
        self.is_begun = self.is_over = True
        shown = self._headers(content, [*headers, (b"connection", b"close")])
        await self._send({"type": "http.response.start", "status": status, "headers": shown})
        if not body.expects_continue:
            await self._send({"type": "http.response.body", "body": content, "more_body": True})
            await body.discard()
            content = b""
        await self._send({"type": "http.response.body", "body": content})

    async def _stream(self, reply: Reply) -> Outcome:
        outcome = await self._batch(reply, reply.primed)
        if outcome is not None or reply.rest is None:
            return outcome or Outcome(Ending.DONE, 200)
        async for batch in reply.rest:
            outcome = await self._batch(reply, batch)
            if outcome is not None:
                return outcome
        return await self.refuse(TollkeeperError("The stream ended without its end."))

    async def _batch(self, reply: Reply, batch: Batch) -> Outcome | None:
        """One write for all events of a batch. The outcome when it was the last."""
        last: Chunk | None = None
        taps = reply.taps
        for chunk in batch:
            for tap in taps:
                tap(chunk)
            if chunk.is_final:
                last = chunk
        exchange = self._exchange
        data = self._dialect.write_batch(batch, exchange.call)
        if last is None:
            if data:
                await self._put(data, is_last=False)
            return None
        if last.error is not None:
            event = self._dialect.write_error_event(last.error, exchange.shown_id)
            await self._put(data + event, is_last=True)
            return Outcome(Ending.FAILED, 200, last.error)
        comment = None if exchange.cost_nano is None else f"x-tollkeeper-cost-usd {format_usd(exchange.cost_nano)}"
        await self._put(data + self._dialect.write_end(exchange.call, comment), is_last=True)
        return Outcome(Ending.DONE, 200)

    async def _put(self, data: bytes, *, is_last: bool) -> None:
        if self._comment is not None:
            await self._comment
        self._is_writing = True
        if not self.is_begun:
            await self._begin()
        if is_last:
            self.is_over = True
        await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})
        self._written_at = self._clock.monotonic()
        self._is_writing = False

    async def _begin(self) -> None:
        self.is_begun = True
        headers = [*_STREAM, *self._common_headers()]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    def _tick(self) -> None:
        """The silence has lasted: begin if that is still to do, and write a comment unless something else was written."""
        if self.is_over:
            return
        loop = asyncio.get_running_loop()
        silent = self._clock.monotonic() - self._written_at if self.is_begun else self._comment_seconds
        if self._is_writing or self._comment is not None or silent < self._comment_seconds:
            wait = max(self._comment_seconds - silent, 0.01)
        else:
            wait = self._comment_seconds
            self._comment = loop.create_task(self._write_comment())
        self._timer = loop.call_later(wait, self._tick)

    async def _write_comment(self) -> None:
        try:
            if not self.is_begun:
                await self._begin()
            await self._send({"type": "http.response.body", "body": _KEEP_ALIVE, "more_body": True})
            self._written_at = self._clock.monotonic()
        finally:
            self._comment = None

    def _headers(self, content: bytes, headers: Sequence[Header]) -> list[Header]:
        return [_JSON, (b"content-length", b"%d" % len(content)), *self._common_headers(), *headers]

    def _common_headers(self) -> list[Header]:
        exchange = self._exchange
        seconds = self._clock.monotonic() - exchange.started
        own_ms = max(seconds - exchange.upstream_seconds, 0.0) * 1000
        headers = [
            (b"x-request-id", exchange.shown_id.encode("ascii")),
            (b"openai-processing-ms", b"%d" % (seconds * 1000)),
            (b"x-tollkeeper-overhead-ms", b"%.3f" % own_ms),
        ]
        if exchange.target is not None:
            if exchange.principal.flags.get(PROVIDER_HEADERS.name, PROVIDER_HEADERS.default):
                headers += (
                    (b"x-tollkeeper-provider", _value(exchange.target.provider)),
                    (b"x-tollkeeper-model", _value(exchange.tries[-1].intent.upstream_model)),
                    (b"x-tollkeeper-attempts", b"%d" % exchange.attempts),
                )
            if exchange.cost_nano is not None:
                headers.append((b"x-tollkeeper-cost-usd", format_usd(exchange.cost_nano).encode()))
        for name, value in exchange.response_headers.items():
            headers.append((name.encode("ascii"), _value(value)))
        return headers


def _value(text: str) -> bytes:
    """A header value out of configured or asked-for text: printable ASCII, so that nothing leaves its line."""
    if text.isascii() and text.isprintable():
        return text.encode("ascii")
    return text.encode("ascii", "backslashreplace").translate(_PRINTABLE)


_PRINTABLE: Final = bytes(code if 0x20 <= code < 0x7F else 0x3F for code in range(256))
