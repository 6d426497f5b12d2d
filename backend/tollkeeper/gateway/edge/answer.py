"""Writes one answer: whole, streamed, or an error, with the headers every answer has.

A stream's 200 leaves with its first content, or when a provider that has accepted it stays silent for long (RULING 18);
from then on a comment now and then keeps the line open, and failures are error events.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tollkeeper.contracts.chat import Batch, Call, Chunk, Reply
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.core.flags import PROVIDER_HEADERS
from tollkeeper.core.money import format_usd
from tollkeeper.gateway import sse
from tollkeeper.gateway.dialect import Writer
from tollkeeper.gateway.edge.errors import Header, error_headers
from tollkeeper.gateway.edge.limits import Body, Send
from tollkeeper.gateway.stage import Ending, Exchange, Outcome

_JSON: Final = b"content-type: application/json\r\n"
_STREAM: Final = b"content-type: %b\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
_DONE: Final = Outcome(Ending.DONE, 200)


@dataclass(frozen=True, slots=True)
class Content:
    """An answer that is no document of ours: a file's bytes."""

    content_type: str
    size: int
    parts: AsyncIterator[bytes]


class Wire(Protocol):
    """What our HTTP server offers beside ASGI; False where ASGI's messages have to be used after all."""

    def answer(self, status: int, lines: int, head: bytes, body: bytes, /) -> bool: ...
    def begin(self, status: int, lines: int, head: bytes, /) -> bool: ...
    def push(self, data: bytes, /, *, is_last: bool) -> bool: ...
    def cut(self) -> None: ...


class Answer:
    def __init__(
        self,
        send: Send,
        wire: Wire | None,
        exchange: Exchange,
        clock: Clock,
        commit_after_seconds: float,
        comment_seconds: float,
    ) -> None:
        self._send = send
        self._wire = wire
        self._exchange = exchange
        self._dialect = exchange.dialect
        self._writer: Writer | None = None
        self._clock = clock
        self._commit_after_seconds = commit_after_seconds
        self._comment_seconds = comment_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None
        self._is_writing = False
        self._written_at = 0.0
        self._lines = 0
        self._told: Mapping[str, str] = {}
        self.is_begun = False
        self.is_over = False

    def accepted(self) -> None:
        """A provider has begun to answer a stream: its silence has a limit from here."""
        if self._timer is None and self._stream_writer().keep_alive:
            self._timer = asyncio.get_running_loop().call_later(self._commit_after_seconds, self._tick)

    async def write(self, reply: Reply) -> Outcome:
        if reply.verbatim is not None:
            return await self._verbatim(reply, reply.verbatim)
        if reply.is_stream:
            return await self._stream(reply)
        chunk = reply.primed[0]
        for tap in reply.taps:
            tap(chunk)
        exchange = self._exchange
        body = self._dialect.write_whole(chunk, exchange.call)
        if exchange.before_end is not None:
            await exchange.before_end(exchange)
        if exchange.copy is not None:
            exchange.copy(body, chunk.content_type)
        await self._whole(200, body, [], chunk.content_type)
        return _DONE

    async def _verbatim(self, reply: Reply, body: bytes) -> Outcome:
        if reply.is_stream:
            await self._put(body, is_last=True)
        else:
            await self._whole(200, body, [], reply.content_type)
        return _DONE

    async def refuse(self, error: TollkeeperError, body: Body | None = None) -> Outcome:
        """The error as a status, or as an event when the stream has begun."""
        request_id = self._exchange.shown_id
        if self.is_over:
            return Outcome(Ending.FAILED, 200, error)
        if self.is_begun:
            return await self._break(b"", error)
        headers = error_headers(error)
        self._told = error.headers
        content = self._dialect.write_error(error, request_id)
        status = self._dialect.status(error)
        if body is None or body.is_complete:
            await self._whole(status, content, headers)
        else:
            await self._early(status, content, headers, body)
        return Outcome(Ending.FAILED, status, error)

    async def write_document(self, content: bytes) -> None:
        await self._whole(200, content, [])

    async def write_content(self, content: Content) -> None:
        """Bytes of a known length, none of them kept; a failure among them cuts the connection."""
        self.is_begun = self.is_over = True
        head = self._head(b"content-type: %b\r\nx-content-type-options: nosniff\r\n" % _value(content.content_type))
        headers = [*pairs(head), (b"content-length", b"%d" % content.size)]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        async for part in content.parts:
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def write_empty(self, allow: str) -> None:
        """The answer to OPTIONS. No CORS: keys do not belong in browsers."""
        self.is_begun = self.is_over = True
        headers = [(b"allow", allow.encode("ascii")), *pairs(self._head(b""))]
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

    async def _whole(
        self, status: int, content: bytes, headers: Sequence[Header], content_type: str | None = None
    ) -> None:
        self.is_begun = self.is_over = True
        head = self._head(_JSON if content_type is None else b"content-type: %b\r\n" % known_value(content_type))
        if not headers and self._wire is not None and self._wire.answer(status, self._lines, head, content):
            return
        length = (b"content-length", b"%d" % len(content))
        await self._send({"type": "http.response.start", "status": status, "headers": [*pairs(head), length, *headers]})
        await self._send({"type": "http.response.body", "body": content})

    async def _early(self, status: int, content: bytes, headers: list[Header], body: Body) -> None:
        """A refusal before the body was read: answer, throw away a bounded rest, close (RULING 17)."""
        self.is_begun = self.is_over = True
        length = (b"content-length", b"%d" % len(content))
        shown = [*pairs(self._head(_JSON)), length, *headers, (b"connection", b"close")]
        await self._send({"type": "http.response.start", "status": status, "headers": shown})
        if not body.expects_continue:
            await self._send({"type": "http.response.body", "body": content, "more_body": True})
            await body.discard()
            content = b""
        await self._send({"type": "http.response.body", "body": content})

    async def _stream(self, reply: Reply) -> Outcome:
        outcome = await self._batch(reply, reply.primed)
        if outcome is not None or reply.rest is None:
            return outcome or _DONE
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
        writer = self._stream_writer()
        data = writer.batch(batch)
        if last is None:
            if data:
                await self._put(data, is_last=False)
            return None
        if last.error is not None:
            return await self._break(data, last.error)
        comment = None if exchange.cost_nano is None else f"x-tollkeeper-cost-usd {format_usd(exchange.cost_nano)}"
        data += writer.end(comment)
        if exchange.before_end is not None and (note := await exchange.before_end(exchange)) is not None:
            data = sse.comment(note) + data
        await self._put(data, is_last=True)
        return _DONE

    async def _break(self, data: bytes, error: TollkeeperError) -> Outcome:
        """The end of a stream that has begun: its error event, or no end at all."""
        event = self._stream_writer().error(error, self._exchange.shown_id)
        if event is not None:
            await self._put(data + event, is_last=True)
        else:
            if data:
                await self._put(data, is_last=False)
            self.is_over = True
            # A server without the word for it cuts what its application leaves unfinished.
            if self._wire is not None:
                self._wire.cut()
        return Outcome(Ending.FAILED, 200, error)

    def _stream_writer(self) -> Writer:
        if self._writer is None:
            self._writer = self._dialect.writer(_with_estimate(self._exchange))
        return self._writer

    async def _put(self, data: bytes, *, is_last: bool) -> None:
        if self._comment is not None:
            await self._comment
        self._is_writing = True
        if self._exchange.copy is not None:
            self._exchange.copy(data, None)
        if not self.is_begun:
            await self._begin()
        if is_last:
            self.is_over = True
        if self._wire is None or not self._wire.push(data, is_last=is_last):
            await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})
        self._written_at = self._clock.monotonic()
        self._is_writing = False

    async def _begin(self) -> None:
        self.is_begun = True
        head = self._head(_STREAM % self._stream_writer().content_type.encode("ascii"))
        if self._wire is None or not self._wire.begin(200, self._lines, head):
            await self._send({"type": "http.response.start", "status": 200, "headers": pairs(head)})

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
            if keep_alive := self._stream_writer().keep_alive:
                await self._send({"type": "http.response.body", "body": keep_alive, "more_body": True})
            self._written_at = self._clock.monotonic()
        finally:
            self._comment = None

    def _head(self, first: bytes) -> bytes:
        """`first` and the headers every answer has, rendered; `_lines` is how many they are."""
        exchange = self._exchange
        seconds = self._clock.monotonic() - exchange.started
        own_ms = max(seconds - exchange.upstream_seconds, 0.0) * 1000
        lines = first.count(b"\n") + 3
        head = b"%bx-request-id: %b\r\nopenai-processing-ms: %d\r\nx-tollkeeper-overhead-ms: %.3f\r\n" % (
            first,
            exchange.shown_id.encode("ascii"),
            seconds * 1000,
            own_ms,
        )
        if exchange.target is not None:
            if exchange.principal.flags.get(PROVIDER_HEADERS.name, PROVIDER_HEADERS.default):
                lines += 3
                head += b"x-tollkeeper-provider: %b\r\nx-tollkeeper-model: %b\r\nx-tollkeeper-attempts: %d\r\n" % (
                    known_value(exchange.target.provider),
                    known_value(exchange.tries[-1].intent.upstream_model),
                    exchange.attempts,
                )
            if exchange.cost_nano is not None:
                lines += 1
                head += b"x-tollkeeper-cost-usd: %b\r\n" % format_usd(exchange.cost_nano).encode()
        response_headers: Mapping[str, str] = exchange.response_headers
        # A refusal's own headers stand in its error.
        if own := self._dialect.headers(
            exchange.shown_id, {**response_headers, **self._told} if self._told else response_headers
        ):
            response_headers = {**response_headers, **own}
        if response_headers:
            lines += len(response_headers)
            head += _lines(response_headers)
        self._lines = lines
        return head


def _with_estimate(exchange: Exchange) -> Call:
    """For forms whose streams begin with a count of the input, which no vendor has told by then."""
    call = exchange.call
    if exchange.tries:
        call.estimated_input_tokens = exchange.tries[-1].intent.estimated_input_tokens
    return call


def pairs(head: bytes) -> list[Header]:
    """Rendered header lines as ASGI has them."""
    found = []
    for line in head.splitlines():
        name, _, value = line.partition(b": ")
        found.append((name, value))
    return found


def _lines(headers: Mapping[str, str]) -> bytes:
    everything = "".join(headers) + "".join(headers.values())
    # Lists, because join makes one of anything else.
    if everything.isascii() and everything.isprintable():
        # One look at all of them, as nearly always nothing is wrong.
        return "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("ascii")
    return b"".join([b"%b: %b\r\n" % (known_value(name), _value(value)) for name, value in headers.items()])


def _value(text: str) -> bytes:
    """A header value out of configured or asked-for text: printable ASCII, so that nothing leaves its line."""
    if text.isascii() and text.isprintable():
        return text.encode("ascii")
    return text.encode("ascii", "backslashreplace").translate(_PRINTABLE)


# Of names that come again and again: providers, models, headers.
known_value: Final = functools.lru_cache(maxsize=4096)(_value)
_PRINTABLE: Final = bytes(code if 0x20 <= code < 0x7F else 0x3F for code in range(256))
