"""An upstream that speaks OpenAI's wire format and costs next to nothing, so that it is never what a benchmark measures.

Raw asyncio protocol, prebuilt answers (`bench/answers.py`), loopback only. The model name chooses the pace:
`mock-100x20` streams 100 chunks 20 ms apart, `-wait50` delays the first byte by 50 ms. `GET /stats` says what was served,
so a ledger can be reconciled against it.
"""

import argparse
import asyncio
import collections
import functools
import re
import signal
from dataclasses import asdict, dataclass
from typing import cast

import httptools
import orjson
import uvloop

from bench import answers

HOST = "127.0.0.1"

# A quote inside a JSON string is escaped, so these match keys and never a caller's prose.
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{1,200})"')
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_USAGE = re.compile(rb'"include_usage"\s*:\s*true')


@dataclass
class Stats:
    """What was served since the start. Tokens are those put on the wire, also for streams the caller left."""

    requests: int = 0
    streams: int = 0
    streams_cancelled: int = 0
    embeddings: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    connections: int = 0


class MockUpstream(asyncio.Protocol):
    """One connection. Calls that arrive while one is being answered wait their turn."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []
        self._waiting: collections.deque[tuple[bytes, bytes]] = collections.deque()
        self._busy = False
        self._timer: asyncio.Handle | None = None
        self._stream: answers.ChatStream | None = None
        self._position = 0
        self._gap_seconds = 0.0
        self._due = 0.0
        self._may_write = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclasses of asyncio's
        self._stats.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._timer is not None:
            self._timer.cancel()
        if self._stream is not None:
            self._stats.streams_cancelled += 1
            self._stream = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._stats.errors += 1
            self._transport.close()

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        if self._stream is not None and self._timer is None:
            self._next_part()

    # Called by the parser.

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        if self._busy:
            self._waiting.append((self._url, body))
        else:
            self._serve(self._url, body)

    def _serve(self, url: bytes, body: bytes) -> None:
        path = url.partition(b"?")[0]
        if path.endswith(b"/chat/completions"):
            self._serve_chat(body)
        elif path.endswith(b"/embeddings"):
            self._serve_embeddings(body)
        elif path.endswith(b"/models"):
            self._transport.write(answers.models())
        elif path == b"/stats":
            self._transport.write(answers.http_answer(orjson.dumps(asdict(self._stats))))
        else:
            self._stats.errors += 1
            self._transport.write(answers.error("unknown path", "404 Not Found"))

    def _serve_chat(self, body: bytes) -> None:
        found = _MODEL.search(body)
        if found is None:
            self._stats.errors += 1
            self._transport.write(answers.error("model is missing", "400 Bad Request"))
            return
        model = found[1].decode("utf-8", "replace")
        self._stats.requests += 1
        self._stats.prompt_tokens += answers.PROMPT_TOKENS
        # The two cheap `find`s spare a regular expression over a megabyte of prose.
        is_stream = body.find(b'"stream"') >= 0 and _STREAM.search(body) is not None
        wait_seconds = answers.pace_of(model).wait_seconds
        if is_stream:
            include_usage = body.find(b'"include_usage"') >= 0 and _USAGE.search(body) is not None
            self._stats.streams += 1
            self._busy = True
            self._later(wait_seconds, functools.partial(self._open_stream, model, include_usage=include_usage))
        elif wait_seconds:
            self._busy = True
            self._later(wait_seconds, functools.partial(self._answer_whole, model))
        else:
            self._answer_whole(model)

    def _later(self, seconds: float, call: "functools.partial[None]") -> None:
        if seconds:
            self._timer = self._loop.call_later(seconds, call)
        else:
            call()

    def _answer_whole(self, model: str) -> None:
        self._timer = None
        self._stats.completion_tokens += answers.WHOLE_COMPLETION_TOKENS
        self._transport.write(answers.chat_whole(model))
        if self._busy:
            self._finish()

    def _open_stream(self, model: str, *, include_usage: bool) -> None:
        self._timer = None
        self._stream = answers.chat_stream(model, include_usage=include_usage)
        self._gap_seconds = answers.pace_of(model).gap_seconds
        self._position = 0
        self._due = self._loop.time()
        self._transport.write(self._stream.head)
        self._next_part()

    def _next_part(self) -> None:
        """Write one chunk per turn of the loop, so that chunks leave one by one even when nothing separates them."""
        self._timer = None
        stream = self._stream
        if stream is None or not self._may_write:
            return
        if self._position == len(stream.parts):
            self._stream = None
            self._transport.write(stream.tail)
            self._finish()
            return
        self._transport.write(stream.parts[self._position])
        self._position += 1
        self._stats.completion_tokens += 1
        if self._gap_seconds and self._position < len(stream.parts):
            self._due += self._gap_seconds
            self._timer = self._loop.call_at(self._due, self._next_part)
        else:
            self._timer = self._loop.call_soon(self._next_part)

    def _finish(self) -> None:
        self._busy = False
        while self._waiting and not self._busy:
            self._serve(*self._waiting.popleft())

    def _serve_embeddings(self, body: bytes) -> None:
        try:
            call = orjson.loads(body)
            model, given = str(call["model"]), call["input"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            self._stats.errors += 1
            self._transport.write(answers.error("model and input are needed", "400 Bad Request"))
            return
        # A list of numbers is one input given as tokens; any other list is a batch.
        inputs = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
        dimensions = int(call.get("dimensions") or answers.DEFAULT_DIMENSIONS)
        as_base64 = call.get("encoding_format") == "base64"
        self._stats.requests += 1
        self._stats.embeddings += inputs
        self._stats.prompt_tokens += answers.PROMPT_TOKENS * inputs
        self._transport.write(answers.embeddings(model, inputs, dimensions, as_base64=as_base64))


async def start(port: int) -> tuple[asyncio.Server, Stats]:
    """Listen on loopback; port 0 takes a free one."""
    stats = Stats()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: MockUpstream(stats), HOST, port, backlog=4096)
    return server, stats


async def _serve_until_told(port: int) -> None:
    server, _ = await start(port)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    print(f"mock upstream on http://{HOST}:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await told.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.mock_upstream", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(_serve_until_told(parser.parse_args().port))


if __name__ == "__main__":
    main()
